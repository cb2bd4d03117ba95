-- A crash takes the nonce, and without one nothing is cached: whoever finds it gone makes a new one, not
-- only the next migration. What was cached under the old one stays void.
-- SECURITY DEFINER, and for everyone: a role that reads events need not be able to write here, and where
-- there is a nonce this does nothing.
CREATE OR REPLACE FUNCTION {{renew_incarnation}}() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {{$}}
  INSERT INTO {{incarnation}} DEFAULT VALUES ON CONFLICT DO NOTHING
{{$}};
