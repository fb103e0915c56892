-- When a restored backup was made safe to run, and the newest certificate that it knew was issued. What was issued in between is
-- genuine and not in it.
CREATE TABLE restores (
    time        INTEGER NOT NULL PRIMARY KEY,
    known_until INTEGER NOT NULL
) STRICT;
