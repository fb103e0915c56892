-- What the executor waits out, while it lasts: as JSON, which error and since when.
ALTER TABLE attempts ADD COLUMN waiting TEXT;
