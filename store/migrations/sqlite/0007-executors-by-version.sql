-- How many run what, for the overview of a fleet: counted from this index alone.
CREATE INDEX executors_by_version ON executors (organization, kind, version, channel) WHERE delete_time IS NULL;
