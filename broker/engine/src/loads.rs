//! How much there was a minute, as averages that forget, under mosquitto's names.

use crate::counters::Counters;

/// What is averaged.
struct Row {
    name: &'static str,
    value: fn(&Counters) -> u64,
}

const ROWS: [Row; 9] = [
    Row { name: "messages/received", value: |c| c.packets_received },
    Row { name: "messages/sent", value: |c| c.packets_sent },
    Row { name: "publish/dropped", value: Counters::messages_dropped },
    Row { name: "publish/received", value: |c| c.publishes_received },
    Row { name: "publish/sent", value: |c| c.publishes_sent },
    Row { name: "bytes/received", value: |c| c.traffic.bytes_received },
    Row { name: "bytes/sent", value: |c| c.traffic.bytes_sent },
    Row { name: "sockets", value: |c| c.traffic.sockets_accepted },
    Row { name: "connections", value: |c| c.received(crate::counters::PacketKind::Connect) },
];

/// Over how many minutes.
const MINUTES: [u16; 3] = [1, 5, 15];

/// The least difference that is worth a message: what two digits show.
const SHOWN: f64 = 0.01;

/// The averages, and the totals that they were last told.
#[derive(Default)]
pub(crate) struct Loads {
    totals: [u64; ROWS.len()],
    averages: [[f64; MINUTES.len()]; ROWS.len()],
}

impl Loads {
    /// Takes the totals as of now, `passed_s` after the last time; answers topics and values of
    /// what has changed, or of everything. Each average goes towards the rate of the time that has
    /// passed, and after its own minutes has gone all but 1/e of the way.
    pub(crate) fn step(
        &mut self,
        counters: &Counters,
        passed_s: f64,
        everything: bool,
    ) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        for ((row, total), averages) in ROWS.iter().zip(&mut self.totals).zip(&mut self.averages) {
            let before = std::mem::replace(total, (row.value)(counters));
            #[expect(clippy::cast_precision_loss, reason = "a rate has a few digits")]
            let more = total.saturating_sub(before) as f64;
            let rate = if passed_s > 0.0 { more * 60.0 / passed_s } else { 0.0 };
            for (average, minutes) in averages.iter_mut().zip(MINUTES) {
                let kept = (-passed_s / (60.0 * f64::from(minutes))).exp();
                let new = rate + kept * (*average - rate);
                if everything || (new - *average).abs() >= SHOWN {
                    let topic = format!("$SYS/broker/load/{}/{minutes}min", row.name);
                    changed.push((topic, format!("{new:.2}")));
                }
                *average = new;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(changed: &[(String, String)], name: &str) -> Option<String> {
        let topic = format!("$SYS/broker/load/{name}");
        changed.iter().find(|(other, _)| *other == topic).map(|(_, value)| value.clone())
    }

    /// 600 packets in ten seconds are 3600 a minute; of that, 1 - e^(-10/60) is 552.67.
    #[test]
    fn averages_go_towards_the_rate_and_forget_it() {
        let mut loads = Loads::default();
        let mut counters = Counters::default();
        let first = loads.step(&counters, 0.0, true);
        assert_eq!(first.len(), 27);
        assert!(first.iter().all(|(_, value)| value == "0.00"));
        assert_eq!(loads.step(&counters, 10.0, false), []);
        counters.packets_received = 600;
        let second = loads.step(&counters, 10.0, false);
        let rows = [("1min", "552.67"), ("5min", "118.02"), ("15min", "39.78")];
        for (minutes, value) in rows {
            let name = format!("messages/received/{minutes}");
            assert_eq!(of(&second, &name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(second.len(), 3, "{second:?}");
        let third = loads.step(&counters, 60.0, false);
        assert_eq!(of(&third, "messages/received/1min").as_deref(), Some("203.31"));
        for _ in 0..40 {
            loads.step(&counters, 60.0, false);
        }
        assert_eq!(of(&loads.step(&counters, 60.0, false), "messages/received/1min"), None);
    }
}
