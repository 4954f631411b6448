//! What the other broker seems not to bear, learnt from how it ends connections.

use martlet_codec::reason::ConnectReturnCode;

use crate::bridge::conversation::{Account, End};
use crate::bridge::relay::Fault;

/// Whether the other broker takes the bit that says "bridge", and the question who it is. It may
/// close a connection for any reason: only what happens again counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    bit: Bit,
    /// Connections in a row that it closed while it was asked.
    question_closed: u8,
}

/// What the next CONNECT does about the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bit {
    /// It has it.
    Try,
    /// The other broker closed the connection on it: does it take one without?
    Doubt,
    /// It does: if it closes this one with the bit, it is the bit.
    TryAgain,
    /// It refused it, or the operator does not want it.
    Never,
}

/// Closed so often on the question, it is left out once.
const QUESTION_CLOSED_MAX: u8 = 2;

impl Tolerance {
    pub(super) fn new(try_private: bool) -> Self {
        Self { bit: if try_private { Bit::Try } else { Bit::Never }, question_closed: 0 }
    }

    /// Whether CONNECT has the bit.
    pub(super) fn private(&self) -> bool {
        matches!(self.bit, Bit::Try | Bit::TryAgain)
    }

    /// Whether the connection is there only to see whether one without the bit is taken.
    pub(super) fn probes(&self) -> bool {
        self.bit == Bit::Doubt
    }

    /// Whether the other broker is asked who it is.
    pub(super) fn asks(&self) -> bool {
        self.question_closed < QUESTION_CLOSED_MAX
    }

    /// There was no connection: it was not there, and may have closed the ones before for that.
    pub(super) fn fail(&mut self) {
        *self = Self::new(self.bit != Bit::Never);
    }

    /// A connection ended like this; whether another way is to be tried at once.
    pub(super) fn learn(&mut self, end: &End, account: &Account) -> bool {
        let closed_on_question = account.asking && matches!(end, End::Closed);
        self.question_closed = if closed_on_question { self.question_closed + 1 } else { 0 };
        let was = self.bit;
        self.bit = was.after(end, account.accepted);
        was != self.bit && self.bit != Bit::Try
    }
}

impl Bit {
    fn after(self, end: &End, accepted: bool) -> Self {
        let refused = ConnectReturnCode::UnacceptableProtocolVersion;
        match (self, end) {
            (Self::Never, _) => Self::Never,
            (Self::Doubt, End::Fault(Fault::TakenWithoutBit)) => Self::TryAgain,
            (Self::Doubt, _) => Self::Try,
            (_, End::Fault(Fault::Refused(code))) if *code == refused => Self::Never,
            (Self::Try, End::Closed | End::Socket(_)) if !accepted => Self::Doubt,
            (Self::TryAgain, End::Closed | End::Socket(_)) if !accepted => Self::Never,
            (Self::Try | Self::TryAgain, _) => Self::Try,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::relay::Tally;

    fn learn(tolerance: &mut Tolerance, end: &End, accepted: bool, asking: bool) -> bool {
        let (subscribed, tally) = (false, Tally::default());
        let account = Account { accepted, asking, subscribed, unsent: 0, tally };
        tolerance.learn(end, &account)
    }

    fn refused(code: ConnectReturnCode) -> End {
        End::Fault(Fault::Refused(code))
    }

    #[test]
    fn the_bit_is_given_up_when_it_is_refused() {
        let mut tolerance = Tolerance::new(true);
        assert!(!learn(&mut tolerance, &refused(ConnectReturnCode::NotAuthorized), false, false));
        assert!(tolerance.private());
        let end = refused(ConnectReturnCode::UnacceptableProtocolVersion);
        assert!(learn(&mut tolerance, &end, false, false));
        assert!(!tolerance.private() && !tolerance.probes());
        assert!(!learn(&mut tolerance, &End::Closed, false, false));
        tolerance.fail();
        assert!(!tolerance.private(), "for ever");
    }

    #[test]
    fn the_bit_is_given_up_when_it_is_closed_on_twice_and_taken_without_between() {
        let mut tolerance = Tolerance::new(true);
        assert!(learn(&mut tolerance, &End::Closed, false, false));
        assert!(!tolerance.private() && tolerance.probes());
        let taken = End::Fault(Fault::TakenWithoutBit);
        assert!(learn(&mut tolerance, &taken, false, false));
        assert!(tolerance.private() && !tolerance.probes());
        assert!(learn(&mut tolerance, &End::Closed, false, false));
        assert!(!tolerance.private() && !tolerance.probes());
    }

    #[test]
    fn a_broker_that_ends_is_not_one_that_does_not_bear_the_bit() {
        // It dies on CONNECT, and is away for a while, or closes the next ones too.
        for is_away in [true, false] {
            let mut tolerance = Tolerance::new(true);
            learn(&mut tolerance, &End::Closed, false, false);
            if is_away {
                tolerance.fail();
            } else {
                assert!(!learn(&mut tolerance, &End::Closed, false, false), "not at once");
            }
            assert!(tolerance.private());
            // The same when it dies between the connections of a probe; then it takes the bit.
            learn(&mut tolerance, &End::Closed, false, false);
            learn(&mut tolerance, &End::Fault(Fault::TakenWithoutBit), false, false);
            learn(&mut tolerance, &End::Closed, true, false);
            assert!(tolerance.private());
            learn(&mut tolerance, &End::Closed, false, false);
            assert!(tolerance.probes(), "all is forgotten");
        }
    }

    #[test]
    fn the_question_is_left_out_once_after_it_was_closed_on_twice_in_a_row() {
        let mut tolerance = Tolerance::new(true);
        learn(&mut tolerance, &End::Closed, true, true);
        assert!(tolerance.asks());
        learn(&mut tolerance, &End::Fault(Fault::Silent("SUBACK")), true, true);
        learn(&mut tolerance, &End::Closed, true, true);
        assert!(tolerance.asks(), "not in a row");
        learn(&mut tolerance, &End::Closed, true, true);
        assert!(!tolerance.asks());
        learn(&mut tolerance, &End::Closed, true, false);
        assert!(tolerance.asks(), "again");
        learn(&mut tolerance, &End::Closed, true, true);
        tolerance.fail();
        learn(&mut tolerance, &End::Closed, true, true);
        assert!(tolerance.asks(), "it was away between");
    }
}
