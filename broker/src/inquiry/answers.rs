//! What was answered, for as long as it counts. Time is an argument.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use martlet_engine::input::Time;

use crate::access::ask::{Backends, Key};

/// How long an answer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds. 0: not at all.
    pub seconds: u32,
    /// Seconds by which it may be more or less, so that not all is asked again at once.
    pub jitter_s: u32,
}

/// The answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_question: HashMap<(Key, Backends), Answer>,
    dice: RandomState,
}

#[derive(Debug)]
struct Answer {
    yes: bool,
    until: Time,
}

/// Answers that are remembered. At the bound those are forgotten that count no more, and if there
/// are none, all: they are asked for again.
const ANSWERS_MAX: usize = 65_536;

impl Answers {
    pub(super) fn find(&self, question: (Key, Backends), now: Time) -> Option<bool> {
        let answer = self.by_question.get(&question)?;
        (now < answer.until).then_some(answer.yes)
    }

    pub(super) fn remember(
        &mut self,
        question: (Key, Backends),
        yes: bool,
        now: Time,
        lifetime: Lifetime,
    ) {
        let lifetime_ms = self.draw_ms(lifetime, (question.0, now));
        if lifetime_ms == 0 {
            return;
        }
        if self.by_question.len() >= ANSWERS_MAX {
            self.by_question.retain(|_, answer| now < answer.until);
        }
        if self.by_question.len() >= ANSWERS_MAX {
            self.by_question.clear();
        }
        let until = Time(now.0.saturating_add(lifetime_ms));
        self.by_question.insert(question, Answer { yes, until });
    }

    pub(super) fn forget(&mut self) {
        self.by_question.clear();
    }

    fn draw_ms(&self, lifetime: Lifetime, seed: (Key, Time)) -> u64 {
        let Lifetime { seconds, jitter_s } = lifetime;
        if seconds == 0 {
            return 0;
        }
        let span_ms = u64::from(jitter_s.min(seconds)) * 2000 + 1;
        u64::from(seconds - jitter_s.min(seconds)) * 1000 + self.dice.hash_one(seed) % span_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::ask::Backend;

    fn question(number: u64) -> (Key, Backends) {
        let mut key = Key::default();
        key[..8].copy_from_slice(&number.to_le_bytes());
        (key, Backends::default().with(Backend::Http))
    }

    #[test]
    fn an_answer_counts_for_its_time() {
        let mut answers = Answers::default();
        let lifetime = Lifetime { seconds: 10, jitter_s: 0 };
        answers.remember(question(1), true, Time(1000), lifetime);
        answers.remember(question(2), false, Time(1000), lifetime);
        let other = (question(1).0, Backends::default().with(Backend::Jwt));
        let rows = [
            (question(1), 1000, Some(true)),
            (question(1), 10_999, Some(true)),
            (question(1), 11_000, None),
            (question(2), 1000, Some(false)),
            (question(3), 1000, None),
            (other, 1000, None),
        ];
        for (question, now, expected) in rows {
            assert_eq!(answers.find(question, Time(now)), expected, "{now}");
        }
        answers.remember(question(4), true, Time(0), Lifetime::default());
        assert_eq!(answers.find(question(4), Time(0)), None, "no time is no memory");
        answers.forget();
        assert_eq!(answers.find(question(1), Time(1000)), None);
    }

    #[test]
    fn lifetimes_differ_by_so_much_and_no_more() {
        let answers = Answers::default();
        let lifetime = Lifetime { seconds: 300, jitter_s: 30 };
        let drawn: Vec<u64> = (0..1000)
            .map(|number| answers.draw_ms(lifetime, (question(number).0, Time(number))))
            .collect();
        assert!(drawn.iter().all(|ms| (270_000..=330_000).contains(ms)));
        assert!(drawn.iter().any(|ms| *ms < 290_000) && drawn.iter().any(|ms| *ms > 310_000));
        let wide = Lifetime { seconds: 5, jitter_s: 60 };
        assert!(answers.draw_ms(wide, (question(1).0, Time(0))) <= 10_000);
    }

    #[test]
    fn so_many_answers_are_remembered_and_no_more() {
        let mut answers = Answers::default();
        let lifetime = |seconds| Lifetime { seconds, jitter_s: 0 };
        answers.remember(question(0), true, Time(0), lifetime(1));
        for number in 1..ANSWERS_MAX as u64 {
            answers.remember(question(number), true, Time(0), lifetime(100));
        }
        assert_eq!(answers.by_question.len(), ANSWERS_MAX);
        answers.remember(question(u64::MAX), true, Time(2000), lifetime(100));
        assert_eq!(answers.by_question.len(), ANSWERS_MAX, "the one that counted no more went");
        assert_eq!(answers.find(question(1), Time(2000)), Some(true));
        answers.remember(question(u64::MAX - 1), true, Time(2000), lifetime(100));
        assert_eq!(answers.by_question.len(), 1);
    }
}
