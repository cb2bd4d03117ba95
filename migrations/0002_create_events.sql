-- Types order by code point: the API promises it, and a prefix is then a range of the index.
-- Empty types, infinite times and JSON that is no object can't be read back as a DomainEvent.
CREATE TABLE {{events}} (
  {{id}} uuid PRIMARY KEY,
  {{type}} text COLLATE "C" NOT NULL CHECK ({{type}} <> ''),
  {{timestamp}} timestamptz NOT NULL CHECK (isfinite({{timestamp}})),
  {{tags}} jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof({{tags}}) = 'object'),
  {{metadata}} jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof({{metadata}}) = 'object'),
  {{data}} jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof({{data}}) = 'object'),
  {{created_at}} timestamptz NOT NULL DEFAULT now(),
  position bigint GENERATED ALWAYS AS IDENTITY,
  transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id()
);
