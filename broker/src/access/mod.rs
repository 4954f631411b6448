//! stub
/// p
#[derive(Debug, Clone)]
pub struct Policy { /// x
 pub allow_anonymous: bool }
impl Policy {
    /// a
    pub fn admit(&self, user: Option<&str>, _password: Option<&[u8]>) -> Result<(), String> {
        let _ = user;
        if self.allow_anonymous { Ok(()) } else { Err("no".into()) }
    }
}
