-- Conditional appends and all other writers, kept apart. A conditional append looks for events and
-- writes where there are none; who writes in between would break its condition unseen. So whoever
-- inserts holds a lock on this table that a conditional append waits for, and the other way round.
-- Writers do not wait for each other, nor do conditional appends: those that can meet lock what they
-- look for, one by one. Not a lock on the events themselves: vacuum and index builds would be in the way.
CREATE TABLE IF NOT EXISTS {{gate}} ();
COMMENT ON TABLE {{gate}} IS
  'Holds no rows. Its lock keeps conditional appends apart from all other inserts.';

-- SECURITY DEFINER: who may insert events need not have a right here. No search path is set, which
-- would cost each insert some microseconds: nothing is looked up by a bare name.
CREATE OR REPLACE FUNCTION {{enter_gate}}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS {{$}}
BEGIN
  LOCK TABLE {{gate}} IN ROW EXCLUSIVE MODE;
  RETURN NULL;
END
{{$}};
REVOKE ALL ON FUNCTION {{enter_gate}}() FROM PUBLIC;

-- Waits until all inserts that are under way have ended, and keeps others out until the end of this
-- transaction, which alone goes on through the trigger.
CREATE OR REPLACE FUNCTION {{close_gate}}() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {{$}}
BEGIN
  IF NOT has_table_privilege(session_user, {{events_text}}::regclass, 'INSERT') THEN
    RAISE EXCEPTION USING
      ERRCODE = 'insufficient_privilege',
      MESSAGE = 'conditional appends need the right to insert events';
  END IF;
  LOCK TABLE {{gate}} IN SHARE MODE;
  PERFORM set_config('tamma_events.gate',
    pg_current_xact_id()::text || ':' || {{events_text}}::regclass::oid::text, true);
END
{{$}};

-- Once a statement: a row's trigger would cost bulk inserts a tenth of their time. ALWAYS: where
-- session_replication_role = replica writes, too.
CREATE OR REPLACE TRIGGER tamma_0_enter_gate BEFORE INSERT ON {{events}}
  FOR EACH STATEMENT WHEN (current_setting('tamma_events.gate', true) IS DISTINCT FROM
    pg_current_xact_id()::text || ':' || {{events_text}}::regclass::oid::text)
  EXECUTE FUNCTION {{enter_gate}}();
ALTER TABLE {{events}} ENABLE ALWAYS TRIGGER tamma_0_enter_gate;
