//! `[auth_http]`, and those options of `[auth_jwt]` that tell of a service.

use std::path::PathBuf;

use serde::Deserialize;

use crate::access::ask::{Method, Params, Response, Service};
use crate::inquiry::{Lifetime, Settings};

/// `[auth_http]` with its defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    host: Option<Box<str>>,
    port: u16,
    with_tls: bool,
    verify_peer: bool,
    ca_file: Option<PathBuf>,
    getuser_uri: Option<Box<str>>,
    superuser_uri: Option<Box<str>>,
    aclcheck_uri: Option<Box<str>>,
    method: Method,
    params_mode: Params,
    response_mode: Response,
    timeout_s: u64,
    user_agent: Box<str>,
    login_cache_s: u32,
    login_cache_jitter_s: u32,
    right_cache_s: u32,
    right_cache_jitter_s: u32,
    questions_max: u32,
    ask_read: bool,
    deny_special_chars: bool,
}

/// The service of `[auth_jwt]` with its defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Remote {
    remote_host: Option<Box<str>>,
    remote_port: u16,
    remote_with_tls: bool,
    remote_verify_peer: bool,
    remote_ca_file: Option<PathBuf>,
    remote_getuser_uri: Option<Box<str>>,
    remote_superuser_uri: Option<Box<str>>,
    remote_aclcheck_uri: Option<Box<str>>,
    remote_method: Method,
    remote_params_mode: Params,
    remote_response_mode: Response,
    remote_timeout_s: u64,
    remote_user_agent: Box<str>,
}

impl Section {
    /// The service, if all is said that it needs.
    pub(super) fn service(&self) -> Option<Service> {
        Some(Service {
            host: self.host.clone()?,
            port: self.port,
            tls: self.with_tls,
            verify_peer: self.verify_peer,
            ca_file: self.ca_file.clone(),
            user_path: self.getuser_uri.clone()?,
            superuser_path: self.superuser_uri.clone(),
            acl_path: self.aclcheck_uri.clone()?,
            method: self.method,
            params: self.params_mode,
            response: self.response_mode,
            user_agent: self.user_agent.clone(),
            timeout_s: self.timeout_s,
            bearer: false,
        })
    }

    /// What the room that asks is told.
    pub(super) fn settings(&self, http: Option<Service>, jwt: Option<Service>) -> Settings {
        Settings {
            http,
            jwt,
            questions_max: self.questions_max,
            logins: Lifetime { seconds: self.login_cache_s, jitter_s: self.login_cache_jitter_s },
            rights: Lifetime { seconds: self.right_cache_s, jitter_s: self.right_cache_jitter_s },
            ask_read: self.ask_read,
            deny_special_chars: self.deny_special_chars,
        }
    }
}

impl Remote {
    /// The service, if all is said that it needs.
    pub(super) fn service(&self) -> Option<Service> {
        Some(Service {
            host: self.remote_host.clone()?,
            port: self.remote_port,
            tls: self.remote_with_tls,
            verify_peer: self.remote_verify_peer,
            ca_file: self.remote_ca_file.clone(),
            user_path: self.remote_getuser_uri.clone()?,
            superuser_path: self.remote_superuser_uri.clone(),
            acl_path: self.remote_aclcheck_uri.clone()?,
            method: self.remote_method,
            params: self.remote_params_mode,
            response: self.remote_response_mode,
            user_agent: self.remote_user_agent.clone(),
            timeout_s: self.remote_timeout_s,
            bearer: true,
        })
    }
}

/// What is wrong with a service that is to be asked.
pub(super) fn fault(service: Option<&Service>, section: &str, prefix: &str) -> Option<String> {
    let Some(service) = service else {
        return Some(format!(
            "wants \"{prefix}host\", \"{prefix}getuser_uri\" and \"{prefix}aclcheck_uri\" in \
             [{section}]"
        ));
    };
    let superuser = service.superuser_path.as_deref();
    let paths = [Some(&*service.user_path), superuser, Some(&*service.acl_path)];
    let is_path = |path: &str| {
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    };
    if let Some(path) = paths.into_iter().flatten().find(|path| !is_path(path)) {
        return Some(format!("wants paths in [{section}] that begin with /, and {path:?} is none"));
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if service.host.is_empty() || !service.host.chars().all(is_host) {
        let host = &service.host;
        return Some(format!("wants a name or an address in [{section}], and {host:?} is none"));
    }
    None
}
