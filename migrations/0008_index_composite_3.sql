-- The two types that the story's dashboards ask for; other events don't touch it.
{{create_index}} ON {{target}} ({{type}}, {{timestamp}} DESC)
WHERE {{type}} IN ('CODE.GENERATED.SUCCESS', 'WORKFLOW.COMPLETED')
