-- What one replica does at a time for all of them, and which one it is. A job is free when its holder's lease has ended.
CREATE TABLE novacula.jobs (
    name    text COLLATE "C" PRIMARY KEY,
    replica uuid NOT NULL REFERENCES novacula.replicas (id) ON DELETE CASCADE
);

CREATE INDEX jobs_by_replica ON novacula.jobs (replica);
