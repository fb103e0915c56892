-- What the executor waits out, while it lasts: as JSON, which error and since when.
ALTER TABLE novacula.attempts ADD COLUMN waiting json;
