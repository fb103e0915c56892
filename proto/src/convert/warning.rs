//! What is told beside an answer.

use domain::Warning;

use crate::convert::{field, text};
use crate::v1;

impl From<&Warning> for v1::UpgradeWarning {
    fn from(warning: &Warning) -> Self {
        let line = |value: &str| text::line(value, text::MESSAGE_MAX_BYTES);
        Self {
            code: warning.code.as_str().to_owned(),
            message: line(&warning.message),
            time: Some(field::to_timestamp(warning.time)),
            metadata: warning.values.iter().map(|(name, value)| (name.clone(), line(value))).collect(),
        }
    }
}

/// Some of them.
#[must_use]
pub fn warnings(told: &[Warning]) -> Vec<v1::UpgradeWarning> {
    told.iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::Timestamp;
    use domain::warning::Code;

    use super::*;

    #[test]
    fn what_an_executor_wrote_moves_no_cursor() {
        let cause = "it said \u{1b}[2Jnothing\r";
        let warning = Warning {
            code: Code::HeldBefore,
            message: cause.to_owned(),
            time: Timestamp::EPOCH,
            values: BTreeMap::from([("cause".to_owned(), cause.to_owned())]),
        };
        let wire = &warnings(&[warning])[0];
        assert_eq!(wire.message, "it said nothing\\u{d}");
        assert_eq!(wire.metadata["cause"], wire.message);
    }
}
