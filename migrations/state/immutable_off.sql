DROP TRIGGER IF EXISTS tamma_1_refuse_change ON {{events}};
DROP TRIGGER IF EXISTS tamma_1_refuse_truncate ON {{events}};
