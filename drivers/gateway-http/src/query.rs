//! Query strings whose values are bytes.

use crate::error::ApiError;
use crate::text::decode_percent;

/// The parameters of one request.
pub(crate) struct Query(Vec<(String, Vec<u8>)>);

impl Query {
    /// Parses `raw` and refuses parameters that are not in `known`, so that a misspelt one is not ignored.
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for part in raw.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if !known.contains(&name) {
                let known = known.join(", ");
                return Err(ApiError::bad_parameter(format!(
                    "unknown parameter {name:?}; known here: {known}"
                )));
            }
            if pairs.iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad_parameter(format!(
                    "parameter {name:?} is given twice"
                )));
            }
            pairs.push((name.to_string(), decode_percent(&value.replace('+', " "))));
        }
        Ok(Query(pairs))
    }

    /// A parameter's bytes.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_slice())
    }

    /// Whether a parameter is there, with or without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// A whole number within `min..=max`.
    pub(crate) fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, ApiError> {
        let Some(bytes) = self.bytes(name) else {
            return Ok(None);
        };
        let number = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::bad_parameter(format!(
                "{name} is a whole number from {min} to {max}"
            ))),
        }
    }
}
