//! Who asks, and may they: login and session cookie for people, bearer tokens for programs.

mod first_admin;
mod guard;
pub mod login;
mod origin;
pub mod password;
mod session;
mod throttle;
pub mod token;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

pub use first_admin::{FirstLogin, ensure_first_admin};
pub use guard::{Access, Guard};
pub use throttle::Throttle;

use crate::error::{Error, Result};
use crate::models::{Role, Via};
use crate::web::error::Failure;

/// Who asks. The guard of the route has seen to it that the role suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's or the token's name; what stands in the audit.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// By which way they came.
    pub via: Via,
}

impl Caller {
    /// Refuses with a sentence unless the role suffices.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn require(&self, role: Role) -> Result<()> {
        if self.role >= role {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "This needs the role {role}, and \"{}\" has the role {}. Ask an admin to do it or to change the role; nothing was changed.",
            self.name, self.role
        )))
    }

    /// Whether the role suffices; for pages that leave out what would be refused.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

impl FromRequest for Caller {
    type Error = Failure;
    type Future = Ready<std::result::Result<Self, Failure>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = req.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(|| Failure::unauthorized("This needs a login.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_includes_the_ones_before_it() {
        for (role, allowed) in [
            (Role::Viewer, [true, false, false]),
            (Role::Operator, [true, true, false]),
            (Role::Admin, [true, true, true]),
        ] {
            let caller = Caller {
                name: "ann".into(),
                role,
                via: Via::Page,
            };
            let may = [Role::Viewer, Role::Operator, Role::Admin].map(|role| caller.may(role));
            assert_eq!(may, allowed, "{role}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_needed_and_who_can_help() {
        let caller = Caller {
            name: "vic".into(),
            role: Role::Viewer,
            via: Via::Page,
        };
        let refusal = caller.require(Role::Operator).unwrap_err().to_string();
        assert!(
            refusal.starts_with(
                "This needs the role operator, and \"vic\" has the role viewer. Ask an admin"
            ),
            "{refusal}"
        );
    }
}
