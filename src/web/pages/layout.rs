//! The frame that every page stands in.

use std::sync::Arc;

use crate::models::Role;
use crate::web::auth::Caller;
use crate::web::pages::browser::{Flash, Theme};
use crate::web::pages::now::Now;
use crate::web::view::{Moment, duration, exact, plural};

/// A place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Nav {
    Dashboard,
    Clusters,
    Counters,
    Triggers,
    Actions,
    Runs,
    Holds,
    Profiles,
    Instances,
    Tasks,
    Audit,
    Account,
}

impl Nav {
    /// The groups of the navigation: what happens, what is defined, what Headroom itself does.
    pub const GROUPS: [&'static [Self]; 3] = [
        &[Self::Dashboard, Self::Runs, Self::Holds],
        &[
            Self::Clusters,
            Self::Counters,
            Self::Triggers,
            Self::Actions,
            Self::Profiles,
        ],
        &[Self::Instances, Self::Tasks, Self::Audit],
    ];

    /// The word in the navigation.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dashboard => "Dashboard",
            Self::Clusters => "Clusters",
            Self::Counters => "Counters",
            Self::Triggers => "Triggers",
            Self::Actions => "Actions",
            Self::Runs => "Runs",
            Self::Holds => "Holds",
            Self::Profiles => "Profiles",
            Self::Instances => "Instances",
            Self::Tasks => "Tasks",
            Self::Audit => "Audit",
            Self::Account => "Account",
        }
    }

    /// The address.
    pub const fn href(self) -> &'static str {
        match self {
            Self::Dashboard => "/",
            Self::Clusters => "/clusters",
            Self::Counters => "/counters",
            Self::Triggers => "/triggers",
            Self::Actions => "/actions",
            Self::Runs => "/runs",
            Self::Holds => "/holds",
            Self::Profiles => "/profiles",
            Self::Instances => "/instances",
            Self::Tasks => "/tasks",
            Self::Audit => "/audit",
            Self::Account => "/account",
        }
    }
}

/// The frame of a page: navigation, title, message, footer.
pub struct Layout {
    /// The page's own title.
    pub title: String,
    /// Where in the navigation.
    pub nav: Nav,
    /// Who asks.
    pub caller: Caller,
    /// Light or dark.
    pub theme: Theme,
    /// What the last button came to.
    pub flash: Option<Flash>,
    /// When, ms.
    pub now_ms: i64,
    /// How long this process has been up.
    pub up_secs: i64,
    /// What is wrong, and how Headroom itself does.
    pub now: Arc<Now>,
}

impl Layout {
    /// Whether the caller may press buttons.
    pub fn may_operate(&self) -> bool {
        self.caller.may(Role::Operator)
    }

    /// Whether the caller may define.
    pub fn may_define(&self) -> bool {
        self.caller.may(Role::Admin)
    }

    /// The title of the window: the number of wrong things first, so that a tab tells it.
    pub fn window_title(&self) -> String {
        match self.now.wrong.len() {
            0 => format!("{} · Headroom", self.title),
            count => format!("({count}) {} · Headroom", self.title),
        }
    }

    /// What is read out when it changes.
    pub fn summary(&self) -> String {
        match self.now.wrong.len() {
            0 => "All quiet".to_owned(),
            1 => "1 thing is wrong".to_owned(),
            count => format!("{} are wrong", plural(count, "thing")),
        }
    }

    /// Whether all acting is stopped, and by whom; read out when it changes.
    pub fn acting(&self) -> String {
        match &self.now.stop {
            Some(stop) => format!("All acting is {stop}"),
            None => "Acting is not stopped".to_owned(),
        }
    }

    /// The count that calls for action at a place of the navigation.
    pub fn calls(&self, nav: &Nav) -> usize {
        match nav {
            Nav::Dashboard => self.now.wrong.len(),
            Nav::Runs => self.now.stuck + self.now.waiting,
            Nav::Instances => self.now.findings,
            _ => 0,
        }
    }

    /// An instant as seen from this page.
    pub fn moment(&self, at_ms: &i64) -> Moment {
        Moment::new(*at_ms, self.now_ms)
    }

    /// The server's time.
    pub fn server_time(&self) -> String {
        exact(self.now_ms)
    }

    /// Headroom's version.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// How long this process has been up, in words.
    pub fn up(&self) -> String {
        duration(self.up_secs)
    }

    /// The icon of the window: green bars, or a red sign with the number of wrong things.
    pub fn icon(&self) -> String {
        let svg = match self.now.wrong.len() {
            0 => r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#0f8f7a" stroke-width="2.5" stroke-linecap="round"><path d="M3 4h18" stroke-dasharray="3 3.5"/><path d="M6 21v-6M12 21V11M18 21v-8"/></svg>"##.to_owned(),
            count => {
                let shown = if count > 9 { "9+".to_owned() } else { count.to_string() };
                format!(
                    r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#b3132b"/><text x="12" y="17.5" font-family="sans-serif" font-size="15" font-weight="700" fill="#fff" text-anchor="middle">{shown}</text></svg>"##
                )
            }
        };
        let encoded: String = url::form_urlencoded::byte_serialize(svg.as_bytes()).collect();
        // Data addresses know %20 alone as a space.
        format!("data:image/svg+xml,{}", encoded.replace('+', "%20"))
    }
}
