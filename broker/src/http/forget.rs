//! `DELETE /delete/{topic}`: forgets a topic.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use martlet_codec::reason::QoS;
use martlet_engine::message::Message;

use crate::http::Shared;
use crate::http::cursors::asked;
use crate::http::login::{Caller, Visitor};
use crate::http::params::{self, Rest};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::push::Publisher;

/// Forgets a topic: its retained message, its records up to now, and the cursors that read nothing
/// but it.
#[utoipa::path(
    delete, path = "/delete/{topic}", tag = "messages",
    params(("topic" = String, Path, description = "Topic Name, with its slashes")),
    responses(
        (status = 204, description = "It is forgotten, and a power cut does not bring it back"),
        (status = 400, description = "No such topic", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "For admins only", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Arc<Visitor>>,
    caller: Caller,
    Rest(topic): Rest,
) -> Result<StatusCode, Problem> {
    caller.must_be_admin()?;
    let name = params::topic(&topic, shared.settings.decode_limits.topic_levels_max)?;
    // An empty retained message takes away the one that is there.
    let nothing = Message::new(name, b"", QoS::AtLeastOnce, true);
    let mut place = visitor.publisher.lock().await;
    let publisher = Publisher::at(&mut place, &shared, &caller);
    let done = async {
        publisher.begin(nothing)?;
        publisher.settle(0).await
    };
    if let Err(problem) = done.await {
        *place = None;
        return Err(problem);
    }
    let Some(log) = shared.log.get().cloned() else { return Ok(StatusCode::NO_CONTENT) };
    asked(move || {
        // Behind the empty message, which would be recorded as the last of the topic.
        log.delete_topic(&topic)?;
        let only = |filter: &Option<String>| filter.as_deref() == Some(&*topic);
        let mut cursors = log.cursors().into_iter().filter(|cursor| only(&cursor.filter));
        cursors.try_for_each(|cursor| log.drop_cursor(&cursor.name))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
