//! What is told to whoever asked: the files, and the lines that use them.

use std::path::Path;

use crate::cli::cert::folder::Folder;

/// An authority is there.
pub(super) fn init(folder: &Folder) -> String {
    let (certificate, key, list) = (folder.authority(), folder.authority_key(), folder.list());
    format!(
        "{}: who signs. Clients and the broker get a copy.\n\
         {}: its key. Keep it, and let nobody have it; the broker does not need it.\n\
         {}: who is revoked: nobody yet.\n\n\
         Next, a certificate for the broker, by the names that clients call it:\n\n    \
         martlet cert server{} NAME...\n",
        certificate.display(),
        key.display(),
        list.display(),
        option(folder),
    )
}

/// The broker has a certificate.
pub(super) fn server(folder: &Folder, names: &[String]) -> String {
    let path = |path: &Path| path.display().to_string();
    let (certificate, key) = (path(&folder.server()), path(&folder.server_key()));
    let (authority, list) = (path(&folder.authority()), path(&folder.list()));
    format!(
        "{certificate}: for {}\n\
         {key}: its key. The user that the broker runs as must be able to read it.\n\n\
         In Martlet's configuration, for clients with certificates and no others:\n\n    \
         [[listener]]\n    \
         port = 8883\n    \
         certfile = {certificate:?}\n    \
         keyfile = {key:?}\n    \
         cafile = {authority:?}\n    \
         crlfile = {list:?}\n    \
         client_certificates = \"required\"\n    \
         use_identity_as_username = true\n\n\
         The same in a mosquitto.conf:\n\n    \
         listener 8883\n    \
         certfile {certificate}\n    \
         keyfile {key}\n    \
         cafile {authority}\n    \
         crlfile {list}\n    \
         require_certificate true\n    \
         use_identity_as_username true\n\n\
         Next, a certificate for each device, by its client id:\n\n    \
         martlet cert device{} ID\n",
        names.join(", "),
        option(folder),
    )
}

/// A device has a certificate.
pub(super) fn device(folder: &Folder, id: &str) -> String {
    let path = |path: &Path| path.display().to_string();
    let (certificate, key) = (path(&folder.device(id)), path(&folder.device_key(id)));
    let authority = path(&folder.authority());
    format!(
        "{certificate}: for {id}\n\
         {key}: its key, for the device alone.\n\n\
         With mosquitto's clients:\n\n    \
         mosquitto_pub -h localhost -p 8883 -i {} --cafile {} --cert {} --key {} \
         -q 1 -t test -m hello\n\n\
         In a program for a device, in Rust:\n\n    \
         const CLIENT_ID: &str = {id:?};\n    \
         const AUTHORITY: &str = include_str!({authority:?});\n    \
         const CERTIFICATE: &str = include_str!({certificate:?});\n    \
         const KEY: &str = include_str!({key:?});\n",
        quoted(id),
        quoted(&authority),
        quoted(&certificate),
        quoted(&key),
    )
}

/// A device is refused from now on.
pub(super) fn revoked(folder: &Folder, id: &str, serial: &str) -> String {
    format!(
        "{}: {id} is on it now, with the serial number {serial}.\n\n\
         A broker that has this file as its crlfile takes it within seconds, and refuses the \
         device when it comes the next time; where it has a copy, copy it again. A connection \
         that is there stays until it ends.\n",
        folder.list().display(),
    )
}

/// The option that names this folder.
fn option(folder: &Folder) -> String {
    let authority = folder.authority();
    let path = authority.parent().unwrap_or(Path::new("."));
    let default = std::fs::canonicalize("martlet-certs").is_ok_and(|default| default == path);
    if default { String::new() } else { format!(" --dir {}", quoted(&path.display().to_string())) }
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
