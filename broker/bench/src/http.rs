//! How fast the window answers with what was recorded.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use mosquitto_compat_tests::broker::{Broker, Kind};
use mosquitto_compat_tests::martlet;
use tempfile::TempDir;

use crate::clock::now_ns;
use crate::error::BenchError;
use crate::machine::{CpuTime, Footprint};
use crate::telemetry::{self, Plan, STREAM};

/// The forms that an answer has, by what `Accept` calls them.
const FORMS: [(&str, &str); 4] = [
    ("lines of JSON", "application/x-ndjson"),
    ("JSON", "application/json"),
    ("CSV", "text/csv"),
    ("Parquet", "application/vnd.apache.parquet"),
];

/// How long an answer may pause.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an answer took.
struct Answered {
    bytes: u64,
    seconds: f64,
}

/// Records with the log alone, starts the broker on that, and reads it all by `GET /consume/`, once
/// in each form; prints a table in Markdown. The broker has as many cores as there are, and one
/// connection.
pub(crate) fn run(plan: &Plan) -> Result<(), BenchError> {
    let program = martlet::binary()?;
    let folder = TempDir::with_prefix("martlet-bench-");
    let folder = folder.map_err(BenchError::system("making a folder"))?;
    telemetry::fill(&folder.path().join("data"), plan)?;
    let window = free_address()?;
    let config = format!(
        "[http]\naddress = \"{window}\"\n\
         [[telemetry]]\nname = \"{STREAM}\"\nfilters = [\"sensors/#\"]\n"
    );
    let broker = Broker::start_in(folder, Kind::Martlet, &program, &config)?;
    println!("| form | records/s | seconds | bytes | CPU seconds | peak RSS, MB |");
    println!("|---|---|---|---|---|---|");
    for (name, accept) in FORMS {
        let before = CpuTime::of(broker.pid())?;
        let Answered { bytes, seconds } = ask(window, accept, plan.records)?;
        let cpu = CpuTime::of(broker.pid())?.since(before).total_s();
        let rss = Footprint::of(broker.pid())?.rss_peak_kib as f64 * 1024.0 / 1e6;
        let rate = plan.records as f64 / seconds;
        println!("| {name} | {rate:.0} | {seconds:.2} | {bytes} | {cpu:.2} | {rss:.0} |");
    }
    Ok(())
}

/// Nobody listens there now.
fn free_address() -> Result<SocketAddr, BenchError> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    free.map_err(BenchError::system("finding a free port"))
}

/// Reads an answer to its end; the connection closes with it.
fn ask(window: SocketAddr, accept: &str, records: u64) -> Result<Answered, BenchError> {
    let asking = BenchError::system("asking the window");
    let began = now_ns();
    let mut stream = TcpStream::connect(window).map_err(&asking)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(&asking)?;
    let request = format!(
        "GET /consume/?limit={records} HTTP/1.1\r\nHost: {window}\r\nAccept: {accept}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(&asking)?;
    let (mut buffer, mut bytes, mut lines) = (vec![0; 1 << 20], 0, 0);
    loop {
        let len = stream.read(&mut buffer).map_err(&asking)?;
        if bytes == 0 && !buffer[..len].starts_with(b"HTTP/1.1 200 ") {
            let head = String::from_utf8_lossy(&buffer[..len.min(200)]).into_owned();
            return Err(BenchError::Refused(head));
        }
        if len == 0 {
            break;
        }
        bytes += len as u64;
        lines += buffer[..len].windows(9).filter(|part| part == b"{\"offset\"").count() as u64;
    }
    let seconds = (now_ns() - began) as f64 / 1e9;
    // Few fall between two reads.
    if accept.ends_with("ndjson") && lines < records / 100 * 99 {
        return Err(BenchError::Refused(format!("{lines} records came, not {records}")));
    }
    Ok(Answered { bytes, seconds })
}
