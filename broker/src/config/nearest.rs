//! "Did you mean ...?"

/// How alike two names must be (1 is the same) before one is suggested for the other.
const ALIKE_MIN: f64 = 0.6;

/// What the candidate that looks most like `wrong` stands for, the first of several, if any looks
/// like it.
///
/// A candidate is a name and what to suggest for it, so that a name of another broker can lead to
/// ours.
pub(crate) fn nearest<T>(
    wrong: &str,
    candidates: impl IntoIterator<Item = (impl AsRef<str>, T)>,
) -> Option<T> {
    candidates
        .into_iter()
        .map(|(name, meant)| (likeness(wrong, name.as_ref()), meant))
        .filter(|(likeness, _)| *likeness >= ALIKE_MIN)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, meant)| meant)
}

/// The better of both readings: as written, and with the words in alphabetical order, since people
/// know the words of a name better than their order.
fn likeness(a: &str, b: &str) -> f64 {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let as_written = strsim::normalized_damerau_levenshtein(&a, &b);
    let sorted = strsim::normalized_damerau_levenshtein(&sorted_words(&a), &sorted_words(&b));
    as_written.max(sorted)
}

fn sorted_words(name: &str) -> String {
    let mut words: Vec<&str> =
        name.split(['_', '-', '.']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_name_is_suggested_and_a_stranger_is_not() {
        let names = ["inflight_max", "queue_messages_max", "queue_bytes_max"];
        let rows = [
            ("max_inflght", Some("inflight_max")),
            ("inflight-max", Some("inflight_max")),
            ("QUEUE_BYTES_MAX", Some("queue_bytes_max")),
            ("queue_message_max", Some("queue_messages_max")),
            ("colour", None),
            ("", None),
        ];
        for (wrong, meant) in rows {
            assert_eq!(nearest(wrong, names.map(|name| (name, name))), meant, "{wrong}");
        }
    }
}
