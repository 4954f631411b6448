//! Who may: pure decisions.

pub mod peer;

/// Who may connect at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a client may connect without having been authenticated. There is no file of users
    /// yet, so that whoever may come in may do so under any User Name.
    pub allow_anonymous: bool,
}

/// Why somebody may not connect. The log says it; the peer is told no more than that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There was no User Name.
    #[error("not authorised, anonymous clients are not allowed")]
    Anonymous,
    /// There was a User Name that nobody knows.
    #[error("not authorised, unknown user name")]
    UnknownUser,
}

impl Policy {
    /// Decides on a CONNECT.
    ///
    /// # Errors
    /// When this client may not connect.
    pub fn admit(&self, user_name: Option<&str>, _password: Option<&[u8]>) -> Result<(), Refusal> {
        match (self.allow_anonymous, user_name) {
            (true, _) => Ok(()),
            (false, None) => Err(Refusal::Anonymous),
            (false, Some(_)) => Err(Refusal::UnknownUser),
        }
    }
}

/// The warning for a broker that no client can enter.
pub fn nobody_may_come_in<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Option<String> {
    let open = policies.into_iter().any(|policy| policy.allow_anonymous);
    let warning = "No client can connect: no listener allows anonymous clients, and there are no \
                   users. Set allow_anonymous = true on a listener where every client may come in.";
    (!open).then(|| warning.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_in_where_anonymous_clients_are_not_allowed() {
        let rows = [
            (true, None, Ok(())),
            (true, Some("anybody"), Ok(())),
            (false, None, Err(Refusal::Anonymous)),
            (false, Some("anybody"), Err(Refusal::UnknownUser)),
        ];
        for (allow_anonymous, user_name, expected) in rows {
            assert_eq!(Policy { allow_anonymous }.admit(user_name, None), expected);
        }
    }

    #[test]
    fn one_open_listener_is_a_way_in() {
        let (open, shut) = (Policy { allow_anonymous: true }, Policy { allow_anonymous: false });
        assert_eq!(nobody_may_come_in([&shut, &open]), None);
        assert!(nobody_may_come_in([&shut, &shut]).is_some());
    }
}
