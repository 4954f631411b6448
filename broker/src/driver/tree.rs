//! What the engine knows of subscriptions: all of them as a tree of topic levels, as mosquitto
//! prints them at SIGUSR2, and those of one client.

use std::sync::Arc;

use martlet_codec::reason::QoS;
use martlet_engine::filter::Filter;

use crate::driver::Driver;

/// Subscriptions that are printed. At the bound: the others are counted.
const PRINTED_MAX: usize = 10_000;

/// Subscriptions taken out of the engine, to be printed once it is let go.
struct Gathered {
    printed: Vec<(Filter, Arc<str>, QoS)>,
    more: usize,
}

/// Takes the subscriptions, of very many a part.
fn gather<'a>(mut all: impl Iterator<Item = (&'a Arc<str>, &'a Filter, QoS)>) -> Gathered {
    let printed = all.by_ref().take(PRINTED_MAX);
    let printed = printed.map(|(client, filter, qos)| (filter.clone(), Arc::clone(client), qos));
    Gathered { printed: printed.collect(), more: all.count() }
}

impl Driver {
    /// All subscriptions as a tree of topic levels, a line each; of very many a part.
    pub fn subscriptions(&self) -> Vec<String> {
        let core = self.core.lock();
        let gathered = gather(core.engine.subscriptions());
        self.let_go(core);
        gathered.lines()
    }

    /// What a client has subscribed to, with the granted QoS.
    pub fn grants_of(&self, client_id: &str) -> Vec<(Filter, QoS)> {
        let core = self.core.lock();
        let grants = core.engine.grants_of(client_id);
        let grants = grants.map(|(filter, qos)| (filter.clone(), qos)).collect();
        self.let_go(core);
        grants
    }

    /// What a client has subscribed to that is here, or may come back.
    pub fn subscriptions_of(&self, client_id: &str) -> Vec<Filter> {
        let core = self.core.lock();
        let filters = core.engine.subscriptions_of(client_id).cloned().collect();
        self.let_go(core);
        filters
    }
}

impl Gathered {
    /// A level of a filter each, indented by its depth; behind it who has subscribed there, with
    /// the granted QoS.
    pub(super) fn lines(mut self) -> Vec<String> {
        self.printed.sort_by(|(a, b, _), (c, d, _)| levels(a).cmp(levels(c)).then(b.cmp(d)));
        let mut lines = vec![format!("Subscriptions: {}", self.printed.len() + self.more)];
        let mut above: Vec<&str> = Vec::new();
        for (filter, client, qos) in &self.printed {
            let path: Vec<&str> = levels(filter).collect();
            let same = above.iter().zip(&path).take_while(|(a, b)| a == b).count();
            for (depth, level) in path.iter().enumerate().skip(same) {
                lines.push(format!("{}{level}", "  ".repeat(depth + 1)));
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(&format!(" ({client}, {})", qos.get()));
            }
            above = path;
        }
        if self.more > 0 {
            lines.push(format!("and {} more, which are not printed.", self.more));
        }
        lines
    }
}

fn levels(filter: &Filter) -> impl Iterator<Item = &str> {
    filter.as_str().split('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_printed_level_by_level() {
        let rows = [
            ("a/b", "one", QoS::AtLeastOnce),
            ("$share/g/t", "two", QoS::AtMostOnce),
            ("a", "one", QoS::ExactlyOnce),
            ("a/b", "two", QoS::AtMostOnce),
            ("a/b/c/#", "one", QoS::AtMostOnce),
            ("ab", "one", QoS::AtMostOnce),
        ];
        let rows = rows.map(|(filter, client, qos)| {
            (Arc::from(client), Filter::parse(filter).expect("a filter"), qos)
        });
        let lines = gather(rows.iter().map(|(client, filter, qos)| (client, filter, *qos))).lines();
        let expected = [
            "Subscriptions: 6",
            "  $share",
            "    g",
            "      t (two, 0)",
            "  a (one, 2)",
            "    b (one, 1) (two, 0)",
            "      c",
            "        # (one, 0)",
            "  ab (one, 0)",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn of_very_many_the_rest_is_counted() {
        let filter = Filter::parse("a").expect("a filter");
        let clients: Vec<Arc<str>> = (0..PRINTED_MAX + 3).map(|n| n.to_string().into()).collect();
        let all = clients.iter().map(|client| (client, &filter, QoS::AtMostOnce));
        let lines = gather(all).lines();
        assert_eq!(lines.last().map(String::as_str), Some("and 3 more, which are not printed."));
    }
}
