//! Any other broker: the command line that starts it on a port of 127.0.0.1.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mosquitto_compat_tests::broker::BrokerError;
use mosquitto_compat_tests::ports::Port;
use tempfile::TempDir;

use crate::clock;
use crate::error::BenchError;

/// A command whose words hold `{port}`, `{folder}` or `{config:FILE}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rival {
    words: Vec<String>,
    /// The file that `{config}` stands for, where we bring one: its name, and what is in it.
    config: Option<(&'static str, &'static str)>,
}

/// Programs whose command line we know.
struct Known {
    program: &'static str,
    arguments: &'static [&'static str],
    config: (&'static str, &'static str),
}

const KNOWN: [Known; 2] = [
    Known {
        program: "rumqttd",
        arguments: &["-c", "{config}"],
        config: ("rumqttd.toml", include_str!("../peers/rumqttd.toml")),
    },
    Known {
        program: "nats-server",
        arguments: &["-c", "{config}"],
        config: ("nats-server.conf", include_str!("../peers/nats-server.conf")),
    },
];

impl Rival {
    /// A command line: words apart by blanks, some of them with a place for what is ours to say.
    pub(crate) fn command(line: &str) -> Option<Self> {
        let has_place = ["{port}", "{folder}", "{config:"].iter().any(|place| line.contains(place));
        let words = || line.split_whitespace().map(str::to_owned).collect();
        has_place.then(|| Self { words: words(), config: None })
    }

    /// A program that is known by its name.
    pub(crate) fn known(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let known = KNOWN.iter().find(|known| known.program == name)?;
        let arguments = known.arguments.iter().map(|word| (*word).to_owned());
        let words = std::iter::once(path.to_str()?.to_owned()).chain(arguments).collect();
        Some(Self { words, config: Some(known.config) })
    }

    /// All known programs that are on `PATH`.
    pub(crate) fn installed() -> Vec<PathBuf> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
        let find = |known: &Known| {
            let mut paths = folders.iter().map(|folder| folder.join(known.program));
            paths.find(|path| path.is_file())
        };
        KNOWN.iter().filter_map(find).collect()
    }

    /// The floor, which is this program.
    pub(crate) fn floor() -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::system("finding ourselves"))?;
        let program = program.display().to_string();
        let words = [program, "floor".to_owned(), "--port".to_owned(), "{port}".to_owned()];
        Ok(Self { words: words.into(), config: None })
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self) -> Result<Running, BenchError> {
        let port = Port::reserve().map_err(BrokerError::Io)?;
        let folder = TempDir::with_prefix("martlet-test-").map_err(BrokerError::Io)?;
        let words = self.words.iter().map(|word| self.fill(word, port.number(), folder.path()));
        let words: Vec<String> = words.collect::<Result<_, _>>()?;
        let (program, arguments) = words.split_first().ok_or(BenchError::NoCommand)?;
        let log = File::create(folder.path().join("output")).map_err(BrokerError::Io)?;
        let is_path = program.contains('/');
        let path = is_path.then(|| std::path::absolute(program).ok()).flatten();
        let mut command = Command::new(path.unwrap_or_else(|| PathBuf::from(program)));
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(BrokerError::Io)?).stderr(log);
        let child = command.spawn().map_err(|source| BrokerError::Start {
            program: PathBuf::from(program),
            source,
            hint: "",
        })?;
        let mut running = Running { child, port, folder };
        running.wait_until_listening(program)?;
        Ok(running)
    }

    fn fill(&self, word: &str, port: u16, folder: &Path) -> Result<String, BenchError> {
        let reading = BenchError::system("a peer's configuration");
        if let Some((before, file)) = word.split_once("{config:")
            && let Some((file, after)) = file.split_once('}')
        {
            let text = fs::read_to_string(file).map_err(&reading)?;
            // Some programs go by the end of its name.
            let name = Path::new(file).file_name().unwrap_or("config".as_ref());
            let path = folder.join(name);
            fs::write(&path, filled(&text, port, folder)).map_err(reading)?;
            return Ok(format!("{before}{}{after}", path.display()));
        }
        match self.config {
            Some((name, text)) if word == "{config}" => {
                let path = folder.join(name);
                fs::write(&path, filled(text, port, folder)).map_err(reading)?;
                Ok(path.display().to_string())
            }
            _ => Ok(filled(word, port, folder)),
        }
    }
}

/// A child that listens. Dropped, it is killed, by its process id.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    port: Port,
    folder: TempDir,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_listening(&mut self, program: &str) -> Result<(), BenchError> {
        let program = PathBuf::from(program);
        let listens =
            clock::wait_until(|| match self.child.try_wait().map_err(BrokerError::Io)? {
                Some(status) => {
                    let (program, log) = (program.clone(), self.log());
                    Err(BrokerError::Ended { program, status, log })
                }
                None => Ok(TcpStream::connect(self.address()).is_ok()),
            })?;
        let (port, log) = (self.port.number(), self.log());
        let deaf = BrokerError::Deaf { program, port, log };
        if listens { Ok(()) } else { Err(deaf.into()) }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn filled(text: &str, port: u16, folder: &Path) -> String {
    text.replace("{port}", &port.to_string()).replace("{folder}", &folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Rival;

    #[test]
    fn a_command_has_a_place_for_what_we_say() {
        assert_eq!(Rival::command("broker"), None);
        let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = files.path().join("broker.conf");
        fs::write(&file, "listen {port} {other}").unwrap();
        let line = format!("broker -p {{port}} --conf={{config:{}}}", file.display());
        let rival = Rival::command(&line).unwrap();
        let words = rival.words.iter().map(|word| rival.fill(word, 7, folder.path()).unwrap());
        let config = folder.path().join("broker.conf");
        let conf = format!("--conf={}", config.display());
        assert_eq!(words.collect::<Vec<_>>(), ["broker", "-p", "7", &conf]);
        assert_eq!(fs::read_to_string(config).unwrap(), "listen 7 {other}");
    }

    #[test]
    fn a_known_program_brings_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let rival = Rival::known(Path::new("/opt/rumqttd")).unwrap();
        let config = rival.fill(&rival.words[2], 4321, folder.path()).unwrap();
        assert!(fs::read_to_string(config).unwrap().contains("127.0.0.1:4321"));
        assert_eq!(Rival::known(Path::new("/opt/martlet")), None);
    }
}
