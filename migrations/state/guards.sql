-- Triggers of a kind run in the order of their names. The guard's must come after any of the user's
-- that could set the column; the log's after the refusal in immutable_on.sql.
-- ENABLE ALWAYS: they run too where replication or session_replication_role = replica writes.
-- On a partitioned table they are row triggers, and so reach every partition, those to come included.

CREATE OR REPLACE TRIGGER zzz_tamma_guard_insert BEFORE INSERT ON {{events}}
  FOR EACH ROW WHEN (NEW.transaction_id IS DISTINCT FROM pg_current_xact_id())
  EXECUTE FUNCTION {{guard_transaction_id}}();

CREATE OR REPLACE TRIGGER zzz_tamma_guard_update BEFORE UPDATE ON {{events}}
  FOR EACH ROW WHEN (NEW.transaction_id IS DISTINCT FROM OLD.transaction_id)
  EXECUTE FUNCTION {{guard_transaction_id}}();

-- Once a transaction: a setting local to it, and this table's own, says that its row is there.
CREATE OR REPLACE TRIGGER tamma_2_log_rotation BEFORE UPDATE OR DELETE ON {{events}}
  FOR EACH ROW WHEN (current_setting({{setting}}, true) IS DISTINCT FROM pg_current_xact_id()::text)
  EXECUTE FUNCTION {{log_rotation}}({{setting}});

ALTER TABLE {{events}}
  ENABLE ALWAYS TRIGGER zzz_tamma_guard_insert,
  ENABLE ALWAYS TRIGGER zzz_tamma_guard_update,
  ENABLE ALWAYS TRIGGER tamma_2_log_rotation;
