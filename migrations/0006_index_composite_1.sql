-- One issue's events, newest first. 159 bytes of WAL for an event that has the tag, none for others.
{{create_index}} ON {{target}} (({{tags}}->>'issueId'), {{timestamp}} DESC, {{type}})
WHERE {{tags}}->>'issueId' IS NOT NULL
