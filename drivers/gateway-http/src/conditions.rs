//! Conditional requests: `If-Match` and `If-None-Match` beside the `ETag` that answers carry.
//!
//! The conditions are a value of their own that is judged against what is there, in the same job on the loop as the write that depends
//! on them: nothing comes in between. They are judged by this member's copy. A conditional write that is sent again, because its
//! answer was lost, takes effect once at most: the first one changes the tag, and the second one is answered with the tag that is there.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use rumormill_core::table::{RowRef, Siblings, Version};

use crate::error::ApiError;

/// The conditions of one request; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any row.
    Any,
    Listed(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    /// Without the quotes.
    opaque: String,
}

/// Which condition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    Match,
    NoneMatch,
}

impl Conditions {
    /// The conditions in a request's head.
    ///
    /// # Errors
    /// `bad_condition`: a header is no list of tags.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Conditions, ApiError> {
        Ok(Conditions {
            matches: tags(headers, header::IF_MATCH)?,
            none_matches: tags(headers, header::IF_NONE_MATCH)?,
        })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// Judges what is there, by its tag without quotes; `None` when nothing is. `If-Match` wants the very same, so a weak tag never
    /// matches there; `If-None-Match` takes weak tags as well.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub(crate) fn judge(&self, present: Option<&str>) -> Result<(), Failed> {
        if let Some(tags) = &self.matches
            && !tags.contain(present, |tag| !tag.weak)
        {
            return Err(Failed::Match);
        }
        match &self.none_matches {
            Some(tags) if tags.contain(present, |_| true) => Err(Failed::NoneMatch),
            _ => Ok(()),
        }
    }
}

impl Tags {
    fn contain(&self, present: Option<&str>, counts: impl Fn(&Tag) -> bool) -> bool {
        let Some(present) = present else {
            return false;
        };
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(|tag| counts(tag) && tag.opaque == present),
        }
    }
}

/// The answer to a write whose condition does not hold: nothing was changed. `present` is the tag of what is there.
pub(crate) fn refusal(failed: Failed, present: Option<&str>) -> ApiError {
    let message = match (failed, present) {
        (Failed::Match, None) => "If-Match: there is no such row",
        (Failed::Match, Some(_)) => "If-Match: the row is another one",
        (Failed::NoneMatch, _) => "If-None-Match: the row is there",
    };
    let error = ApiError::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition_failed",
        message,
    );
    match present {
        Some(tag) => error.with_etag(quoted(tag)),
        None => error,
    }
}

/// The answer to conditions on a row of a table that answers later: nothing was changed.
pub(crate) fn unsupported() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "conditions_unsupported",
        "the table answers later, and judges no conditions",
    )
}

/// The tag of a row, without quotes.
pub(crate) fn tag_of_row(row: &RowRef<'_>) -> String {
    match row.siblings() {
        Some(siblings) => tag_of_siblings(&siblings),
        None => version_text(row.version()),
    }
}

/// The tag of a key that keeps siblings: a single one has its own, several have one for all of them, which every member that holds
/// the same siblings computes alike.
pub(crate) fn tag_of_siblings(siblings: &Siblings) -> String {
    let versions: Vec<Version> = siblings
        .values
        .iter()
        .map(|(_, version)| *version)
        .collect();
    if let [version] = versions[..] {
        return version_text(version);
    }
    let mut hash = blake3::Hasher::new();
    for version in versions {
        hash.update(version_text(version).as_bytes());
        hash.update(b"\n");
    }
    let hash = hash.finalize().to_hex();
    format!("siblings-{}", &hash[..32])
}

/// Returns a version as text.
pub(crate) fn version_text(version: Version) -> String {
    format!("{}-{}-{}", version.clock, version.actor, version.counter)
}

/// A tag as it stands in a header.
pub(crate) fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// The tags of all headers of a name; `None` when there is none.
fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, ApiError> {
    let mut found: Option<Tags> = None;
    for value in headers.get_all(&name) {
        let tags = value.to_str().ok().and_then(list).ok_or_else(|| {
            let message = format!("{name} is * or a list of tags such as \"a\", W/\"b\"");
            ApiError::new(StatusCode::BAD_REQUEST, "bad_condition", message)
        })?;
        found = Some(match (found, tags) {
            (None, tags) => tags,
            (Some(Tags::Listed(mut all)), Tags::Listed(more)) => {
                all.extend(more);
                Tags::Listed(all)
            }
            (Some(_), _) => Tags::Any,
        });
    }
    Ok(found)
}

/// `*`, or tags between commas.
fn list(text: &str) -> Option<Tags> {
    let mut rest = text.trim_matches([' ', '\t']);
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(Tags::Listed(tags));
        }
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !opaque.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let opaque = opaque.to_string();
        tags.push(Tag { weak, opaque });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}
