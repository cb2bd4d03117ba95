-- The default order, which keyset cursors follow. 84 bytes of WAL an event.
{{create_index}} ON {{target}} ({{timestamp}}, {{id}})
