-- What the exact cache needs to know beside the events themselves.

-- Which transactions changed or removed events. Read by the same rule of visibility as events, so a
-- cached answer and the log can't disagree. Append-only: a row that every change updated would make
-- writers wait for each other. UNLOGGED: it is empty after a crash, and so is the nonce below, which
-- then tells every cached answer to go.
CREATE UNLOGGED TABLE IF NOT EXISTS {{rotations}} (
  transaction_id xid8 PRIMARY KEY DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE {{rotations}} IS
  'Transactions that updated or deleted events. Whoever prunes it must change the nonce of the incarnation table in the same transaction.';

CREATE UNLOGGED TABLE IF NOT EXISTS {{incarnation}} (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  nonce uuid NOT NULL DEFAULT gen_random_uuid()
);
COMMENT ON TABLE {{incarnation}} IS
  'A nonce that a crash or a promotion removes: cached answers of another nonce, or of none, are void.';

-- SECURITY DEFINER: a role that may delete events need not be able to write the log. The search path
-- is fixed, with pg_temp last, or a caller's temporary objects would stand in for the server's own.
CREATE OR REPLACE FUNCTION {{log_rotation}}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {{$}}
BEGIN
  INSERT INTO {{rotations}} DEFAULT VALUES ON CONFLICT DO NOTHING;
  -- Undone with the row above if a savepoint is rolled back.
  PERFORM set_config(TG_ARGV[0], pg_current_xact_id()::text, true);
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  RETURN NEW;
END
{{$}};
-- Else anyone could attach it to a table of their own and void the cache with it.
REVOKE ALL ON FUNCTION {{log_rotation}}() FROM PUBLIC;

-- An event belongs to the transaction that inserted it, whatever a statement, a replication worker
-- or a restored dump says: what a snapshot could not see is found by that.
CREATE OR REPLACE FUNCTION {{guard_transaction_id}}() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {{$}}
BEGIN
  IF TG_OP = 'INSERT' THEN
    NEW.transaction_id := pg_current_xact_id();
  ELSE
    NEW.transaction_id := OLD.transaction_id;
  END IF;
  RETURN NEW;
END
{{$}};

-- The owner's maintenance opts out for one transaction by naming it. A plain on/off setting would
-- outlive the transaction where a session, or a pooler's other client, forgot to reset it.
CREATE OR REPLACE FUNCTION {{refuse_change}}() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {{$}}
BEGIN
  IF current_setting('tamma_events.change_in_transaction', true) = pg_current_xact_id()::text
    AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
  THEN
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    END IF;
    RETURN NEW;
  END IF;
  RAISE EXCEPTION USING
    ERRCODE = 'restrict_violation',
    MESSAGE = format('%s of %I.%I is refused: events are immutable', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
    HINT = 'For maintenance the table''s owner may run, in the same transaction and before it: SELECT set_config(''tamma_events.change_in_transaction'', pg_current_xact_id()::text, true)',
    SCHEMA = TG_TABLE_SCHEMA,
    TABLE = TG_TABLE_NAME;
END
{{$}};
