-- What a snapshot could not see. 67 bytes of WAL an event; the equal keys of a batch share an entry.
{{create_index}} ON {{target}} (transaction_id)
