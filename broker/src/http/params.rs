//! What stands in a path and behind its question mark, taken apart or refused by name.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use martlet_codec::topic::{TopicFilter, TopicName};
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The parameters behind the question mark. One that nobody knows is a mistake: it would have no
/// effect.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ");
                let text = text.map(str::to_owned).unwrap_or_else(|| rejection.body_text());
                Err(Problem::bad(format!("behind the question mark: {text}")))
            }
        }
    }
}

/// The rest of the path: a topic or a filter, with its slashes.
pub(super) struct Rest(pub(super) String);

impl<S: Sync + Send> FromRequestParts<S> for Rest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(rest)| Self(rest)).map_err(|rejection| Problem::bad(rejection.body_text()))
    }
}

/// A Topic Name, or what is wrong with it.
pub(super) fn topic(text: &str, levels_max: u16) -> Result<TopicName<'_>, Problem> {
    let topic = TopicName::new(text.as_bytes())
        .map_err(|error| Problem::bad(format!("{text:?} is no topic name: {error}")))?;
    bound_levels(text, topic.levels().count(), levels_max)?;
    Ok(topic)
}

/// A Topic Filter, or what is wrong with it.
pub(super) fn filter(text: &str, levels_max: u16) -> Result<TopicFilter<'_>, Problem> {
    let filter = TopicFilter::new(text.as_bytes()).map_err(|error| {
        Problem::bad(format!("{text:?} is no topic filter: {error} (# is written %23 in a URL)"))
    })?;
    bound_levels(text, filter.levels().count(), levels_max)?;
    Ok(filter)
}

fn bound_levels(text: &str, levels: usize, levels_max: u16) -> Result<(), Problem> {
    if levels <= usize::from(levels_max) {
        return Ok(());
    }
    let detail = format!("{levels} levels, more than topic_levels_max ({levels_max}): {text:.40?}");
    Err(Problem::bad(detail))
}
