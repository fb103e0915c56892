-- A release is spoken of in many organizations' feeds: one of them walks past none of the others' rows.
DROP INDEX events_by_target;
CREATE INDEX events_by_target ON events (target, organization, sequence);
