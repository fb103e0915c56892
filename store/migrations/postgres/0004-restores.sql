-- When a restored backup was made safe to run, and the newest certificate that it knew was issued. What was issued in between is
-- genuine and not in it.
CREATE TABLE novacula.restores (
    time        timestamptz PRIMARY KEY,
    known_until timestamptz NOT NULL
);
