-- Shared by the event tables of a schema, so two of them may be migrated at once.
SELECT pg_advisory_xact_lock({{schema_lock}});

CREATE TABLE IF NOT EXISTS {{schema}}.query_performance_log (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  query_id VARCHAR(255) NOT NULL,
  query_text TEXT NOT NULL,
  execution_time_ms INTEGER NOT NULL,
  rows_returned INTEGER NOT NULL,
  indexes_used TEXT[],
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE TABLE IF NOT EXISTS {{schema}}.index_usage_stats (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  index_name VARCHAR(255) NOT NULL,
  table_name VARCHAR(255) NOT NULL,
  usage_count BIGINT NOT NULL DEFAULT 0,
  last_used TIMESTAMP WITH TIME ZONE,
  size_bytes BIGINT NOT NULL DEFAULT 0,
  stats_date DATE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),

  UNIQUE(index_name, stats_date)
);

CREATE TABLE IF NOT EXISTS {{schema}}.query_cache (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  query_key VARCHAR(255) NOT NULL UNIQUE,
  query_hash VARCHAR(64) NOT NULL,
  result_data JSONB NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  hit_count INTEGER NOT NULL DEFAULT 0,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  last_accessed TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Retention and expiry delete by these, and the slow-query report reads by the first.
CREATE INDEX IF NOT EXISTS idx_query_performance_log_created_at
  ON {{schema}}.query_performance_log (created_at);
CREATE INDEX IF NOT EXISTS idx_query_cache_expires_at
  ON {{schema}}.query_cache (expires_at);
