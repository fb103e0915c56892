//! Holds what is carried against what there is: a table or column that one side has and the list does not name would be lost
//! without a word.

use std::collections::BTreeMap;

use super::table::{ELSEWHERE, OWN, SEQUENCES, TABLES};

/// Every column with its type, by table and name.
pub(crate) type Catalog = BTreeMap<(String, String), String>;

/// What SQLite must have, with the type where it is that of the list.
fn source_columns() -> BTreeMap<(String, String), Option<&'static str>> {
    let plain = TABLES.iter().filter(|table| table.name == table.from);
    let plain = plain.flat_map(|table| table.columns.iter().map(|column| (table.name, column)));
    let plain = plain.map(|(table, column)| ((table, column.name), Some(column.kind.source_type())));
    let elsewhere = ELSEWHERE.iter().map(|column| (*column, None));
    plain.chain(elsewhere).map(|((table, column), word)| ((table.to_owned(), column.to_owned()), word)).collect()
}

fn target_columns() -> BTreeMap<(String, String), Option<&'static str>> {
    let columns = TABLES.iter().flat_map(|table| table.columns.iter().map(|column| (table.name, column)));
    let columns = columns.map(|(table, column)| ((table, column.name), Some(column.kind.target_type())));
    let sequences = SEQUENCES.iter().map(|(sequence, _, _)| ((*sequence, ""), Some("sequence")));
    columns.chain(sequences).map(|((table, column), word)| ((table.to_owned(), column.to_owned()), word)).collect()
}

/// What SQLite has that is not carried, or lacks that is.
pub(crate) fn differs_at_source(found: &Catalog) -> Option<String> {
    differs(&source_columns(), found)
}

/// What PostgreSQL has that would stay empty, or lacks.
pub(crate) fn differs_at_target(found: &Catalog) -> Option<String> {
    differs(&target_columns(), found)
}

fn differs(wanted: &BTreeMap<(String, String), Option<&'static str>>, found: &Catalog) -> Option<String> {
    let found: Catalog = found
        .iter()
        .filter(|((table, _), _)| !OWN.contains(&table.as_str()))
        .map(|(name, word)| (name.clone(), word.clone()))
        .collect();
    for (name, word) in &found {
        match wanted.get(name) {
            None => return Some(format!("it has {}, which this release does not carry", shown(name))),
            Some(Some(wanted)) if wanted != word => {
                return Some(format!("its {} is of type {word}, not {wanted}", shown(name)));
            }
            Some(_) => {}
        }
    }
    wanted.keys().find(|name| !found.contains_key(*name)).map(|name| format!("it lacks {}", shown(name)))
}

fn shown((table, column): &(String, String)) -> String {
    if column.is_empty() { table.clone() } else { format!("{table}.{column}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(wanted: BTreeMap<(String, String), Option<&'static str>>) -> Catalog {
        wanted.into_iter().map(|(name, word)| (name, word.unwrap_or("TEXT").to_owned())).collect()
    }

    #[test]
    fn more_less_and_other_columns_are_named() {
        for (wanted, differs) in [
            (source_columns(), differs_at_source as fn(&Catalog) -> Option<String>),
            (target_columns(), differs_at_target),
        ] {
            let mut found = whole(wanted);
            assert_eq!(differs(&found), None);
            let tokens = ("tokens".to_owned(), "role".to_owned());
            found.insert(tokens.clone(), "BLOB".to_owned());
            assert!(differs(&found).is_some_and(|said| said.contains("tokens.role is of type BLOB")));
            found.remove(&tokens);
            assert_eq!(differs(&found).as_deref(), Some("it lacks tokens.role"));
            found.insert(("tokens".to_owned(), "motto".to_owned()), "TEXT".to_owned());
            assert!(differs(&found).is_some_and(|said| said.contains("tokens.motto")));
        }
    }
}
