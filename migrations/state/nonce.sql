-- A crash emptied the table, or it is new.
INSERT INTO {{incarnation}} DEFAULT VALUES ON CONFLICT DO NOTHING
