-- Rows that are written to a partition by its own name fire no statement trigger of the table that it is
-- part of, and so went past the gate of conditional appends. Row triggers are cloned to every partition,
-- those to come included. Ordinary tables keep to their statement trigger alone, which costs less.
--
-- Once a transaction and table: a setting local to it says that the lock is held, and goes, as the lock
-- does, where a savepoint before it is rolled back.
CREATE OR REPLACE FUNCTION {{enter_gate_by_row}}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {{$}}
BEGIN
  LOCK TABLE {{gate}} IN ROW EXCLUSIVE MODE;
  PERFORM set_config('tamma_events.gate',
    pg_current_xact_id()::text || ':' || {{events_text}}::regclass::oid::text, true);
  RETURN NEW;
END
{{$}};
REVOKE ALL ON FUNCTION {{enter_gate_by_row}}() FROM PUBLIC;

DO {{$}}
BEGIN
  IF (SELECT relkind FROM pg_class WHERE oid = {{events_text}}::regclass) = 'p' THEN
    CREATE OR REPLACE TRIGGER tamma_0_enter_gate_by_row BEFORE INSERT ON {{events}}
      FOR EACH ROW WHEN (current_setting('tamma_events.gate', true) IS DISTINCT FROM
        pg_current_xact_id()::text || ':' || {{events_text}}::regclass::oid::text)
      EXECUTE FUNCTION {{enter_gate_by_row}}();
    ALTER TABLE {{events}} ENABLE ALWAYS TRIGGER tamma_0_enter_gate_by_row;
  END IF;
END
{{$}};
