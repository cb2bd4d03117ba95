-- One provider's events, newest first. 113 bytes of WAL for an event that has the tag.
{{create_index}} ON {{target}} (({{tags}}->>'provider'), {{timestamp}} DESC)
WHERE {{tags}}->>'provider' IS NOT NULL
