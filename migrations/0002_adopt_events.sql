-- Adds what an existing table lacks without rewriting it: the rows that are there get their values
-- from the catalog. Both columns may exist already, if the table was migrated before and only the
-- record of it was lost.

-- Old rows get 0, a transaction older than any. With pg_current_xact_id() as the default of ADD
-- COLUMN they would all belong to this one, which a snapshot taken earlier can't see: its holder
-- would count them again as new. The default for later rows must be set in the same ALTER, or a
-- crash could leave the table with the first one.
ALTER TABLE {{events}}
  ADD COLUMN IF NOT EXISTS transaction_id xid8 NOT NULL DEFAULT '0',
  ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id();

-- An identity column rewrites the table where it is added, but not where a column becomes one.
ALTER TABLE {{events}} ADD COLUMN IF NOT EXISTS position bigint NOT NULL DEFAULT 0;
DO {{$}}
BEGIN
  IF EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = {{events_text}}::regclass AND attname = 'position' AND attidentity = ''
  ) THEN
    ALTER TABLE {{events}}
      ALTER COLUMN position DROP DEFAULT,
      ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY;
  END IF;
END
{{$}};
