-- Row triggers: a statement trigger misses what is done to a partition directly, and fires for an
-- upsert that changes nothing. Nothing fires for TRUNCATE of a single partition.
-- Not ENABLE ALWAYS: a subscriber applies what its publisher decided.
CREATE OR REPLACE TRIGGER tamma_1_refuse_change BEFORE UPDATE OR DELETE ON {{events}}
  FOR EACH ROW EXECUTE FUNCTION {{refuse_change}}();
CREATE OR REPLACE TRIGGER tamma_1_refuse_truncate BEFORE TRUNCATE ON {{events}}
  FOR EACH STATEMENT EXECUTE FUNCTION {{refuse_change}}();
