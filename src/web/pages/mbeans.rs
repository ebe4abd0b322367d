//! `/nodes/{name}/jvms/{jvm}`: a JVM's MBeans and their attributes as they are now, to find a counter in.

use actix_web::HttpRequest;
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::clients::jmx::{Datum, Shown};
use crate::error::Error;
use crate::models::node::Node;
use crate::web::error::Answer;
use crate::web::mbeans;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Pager, address};

/// Members of a composite that are opened, in all.
const MAX_MEMBERS: usize = 500;
/// How much of a text is shown.
const SHOWN_CHARS: usize = 200;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    /// A part of an MBean's name.
    #[serde(default)]
    q: String,
    page: Option<usize>,
    mbean: Option<String>,
    /// What a counter is to be made of.
    attribute: Option<String>,
    key: Option<String>,
}

/// An MBean in the list, or a domain before its first one.
struct NameLine {
    /// The part before the colon, where it is another one than on the line before.
    domain: Option<String>,
    rest: String,
    href: String,
}

/// An attribute, or a member of one.
struct ValueLine {
    name: String,
    key: String,
    depth: usize,
    class: String,
    description: String,
    value: String,
    error: bool,
    /// To make a counter of it, where it is a number.
    href: Option<String>,
}

#[derive(Template)]
#[template(path = "mbeans.html")]
struct MbeansPage {
    layout: Layout,
    node: String,
    jvm: String,
    path: String,
    q: String,
    fault: Option<String>,
    names: Vec<NameLine>,
    pager: Pager,
    mbean: Option<String>,
    values: Vec<ValueLine>,
    snippet: Option<String>,
}

/// `GET /nodes/{name}/jvms/{jvm}`.
///
/// # Errors
/// There is no such node or JVM, or the database fails. That the JVM does not answer is said on the page.
pub async fn show(
    visit: Visit,
    place: Path<(String, String)>,
    wish: Query<Wish>,
    request: HttpRequest,
) -> Answer {
    let (node, jvm) = place.into_inner();
    let wish = wish.into_inner();
    let wanted = node.clone();
    // What does not exist is no fault of a JVM.
    let known = visit.app.db.read(move |conn| Node::by_name(conn, &wanted));
    known.await?;
    let title = wish
        .mbean
        .clone()
        .unwrap_or_else(|| format!("{node}/{jvm}"));
    let layout = visit.layout(Nav::Clusters, title).await?;
    let path = format!("/nodes/{}/jvms/{}", encoded(&node), encoded(&jvm));
    let mut page = MbeansPage {
        layout,
        pager: Pager::cut(&path, None, 0, &[]),
        path,
        q: wish.q.clone(),
        fault: None,
        names: Vec::new(),
        mbean: wish.mbean.clone(),
        values: Vec::new(),
        snippet: None,
        node,
        jvm,
    };
    // The frame of the page is kept fresh by its script; the JVM is asked when a person asks.
    let refresh = request.headers().contains_key("x-requested-with");
    let filled = match &wish.mbean {
        _ if refresh => Ok(()),
        Some(mbean) => page.open(&visit, mbean, &wish).await,
        None => page.list(&visit, &wish).await,
    };
    match filled {
        Ok(()) => {}
        Err(cause @ (Error::Upstream { .. } | Error::Conflict(_))) => {
            page.fault = Some(cause.to_string());
        }
        Err(cause) => return Err(cause.into()),
    }
    visit.show(&page)
}

impl MbeansPage {
    async fn list(&mut self, visit: &Visit, wish: &Wish) -> crate::error::Result<()> {
        let (node, jvm) = (self.node.clone(), self.jvm.clone());
        let names = mbeans::names(&visit.app, node, jvm).await?;
        let sought = wish.q.trim().to_lowercase();
        let fits = |name: &String| name.to_lowercase().contains(&sought);
        let names: Vec<String> = names.into_iter().filter(fits).collect();
        let filters = [("q", wish.q.as_str())];
        self.pager = Pager::cut(&self.path, wish.page, names.len(), &filters);
        let mut before = String::new();
        for name in self.pager.take(names) {
            let (domain, rest) = name.split_once(':').unwrap_or(("", &name));
            self.names.push(NameLine {
                domain: (domain != before).then(|| domain.to_owned()),
                rest: rest.to_owned(),
                href: self.link(&[("mbean", &name)]),
            });
            before = domain.to_owned();
        }
        Ok(())
    }

    async fn open(&mut self, visit: &Visit, mbean: &str, wish: &Wish) -> crate::error::Result<()> {
        let (node, jvm) = (self.node.clone(), self.jvm.clone());
        let shown = mbeans::attributes(&visit.app, node, jvm, mbean.to_owned()).await?;
        if let Some(attribute) = &wish.attribute {
            self.snippet = snippet(mbean, attribute, wish.key.as_deref(), &shown);
        }
        for shown in shown {
            self.line(mbean, &shown);
        }
        Ok(())
    }

    fn line(&mut self, mbean: &str, shown: &Shown) {
        let about = &shown.about;
        let (value, error) = match &shown.value {
            Ok(datum) => (words(datum), false),
            Err(why) => (why.clone(), true),
        };
        let number = shown
            .value
            .as_ref()
            .is_ok_and(|datum| datum.number().is_ok());
        self.values.push(ValueLine {
            href: number.then(|| self.link(&[("mbean", mbean), ("attribute", &about.name)])),
            name: about.name.clone(),
            key: String::new(),
            depth: 0,
            class: about
                .class
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_owned(),
            description: about.description.clone(),
            value,
            error,
        });
        if let Ok(datum) = &shown.value {
            self.members(mbean, &about.name, "", datum, 1);
        }
    }

    /// The members of a composite, each with the key that a counter names it by.
    fn members(&mut self, mbean: &str, attribute: &str, above: &str, datum: &Datum, depth: usize) {
        for (name, member) in datum.members() {
            if self.values.len() >= MAX_MEMBERS {
                return;
            }
            let key = match above {
                "" => name.clone(),
                above => format!("{above}.{name}"),
            };
            let asked = [("mbean", mbean), ("attribute", attribute), ("key", &key)];
            self.values.push(ValueLine {
                href: member.number().is_ok().then(|| self.link(&asked)),
                name: name.clone(),
                key: key.clone(),
                depth,
                class: String::new(),
                description: String::new(),
                value: words(member),
                error: false,
            });
            self.members(mbean, attribute, &key, member, depth + 1);
        }
    }

    fn link(&self, query: &[(&str, &str)]) -> String {
        address(&self.path, &[], query)
    }
}

fn encoded(part: &str) -> String {
    askama::filters::urlencode_strict(part)
        .map(|text| text.to_string())
        .unwrap_or_default()
}

/// A value as it is shown.
fn words(datum: &Datum) -> String {
    match datum {
        Datum::Text(text) if text.chars().count() > SHOWN_CHARS => {
            text.chars().take(SHOWN_CHARS).chain(['…']).collect()
        }
        Datum::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A counter for the fleet file; text is quoted as in JSON, which YAML takes too.
fn snippet(mbean: &str, attribute: &str, key: Option<&str>, shown: &[Shown]) -> Option<String> {
    let found = shown.iter().find(|shown| shown.about.name == attribute)?;
    let datum = found.value.as_ref().ok()?;
    let datum = match key {
        Some(key) => datum.member(key).ok()?,
        None => datum,
    };
    let now = datum.number().ok()?;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let key_part = key
        .map(|key| format!(", key: {}", quoted(key)))
        .unwrap_or_default();
    Some(format!(
        "counters:\n  - {{ name: {}, kind: jmx, mbean: {}, attribute: {}{key_part}, comparison: \">\", threshold: {now} }}   # {now} is its value now: put your bound here\n",
        suggested(attribute, key),
        quoted(mbean),
        quoted(attribute),
    ))
}

/// A name for a counter, in the letters that names have.
fn suggested(attribute: &str, key: Option<&str>) -> String {
    let text = format!("{attribute} {}", key.unwrap_or_default());
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    match words.join("-") {
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => name,
        name => format!("jmx-{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::jmx::Described;

    #[test]
    fn a_snippet_is_a_counter_that_the_fleet_file_takes() {
        let shown = [Shown {
            about: Described {
                name: "HeapMemoryUsage".into(),
                class: String::new(),
                description: String::new(),
                readable: true,
            },
            value: Ok(Datum::Members(vec![("used".into(), Datum::Integer(42))])),
        }];
        let mbean = "Catalina:type=ThreadPool,name=\"http-nio-8080\"";
        let text = snippet(mbean, "HeapMemoryUsage", Some("used"), &shown).unwrap();
        let file = crate::fleet::parse(&text).unwrap();
        assert_eq!(file.counters.len(), 1);
        let counter = serde_json::to_value(&file.counters[0]).unwrap();
        assert_eq!(counter["name"], "heapmemoryusage-used");
        assert_eq!(counter["mbean"], mbean);
        assert_eq!(counter["key"], "used");
        assert_eq!(counter["threshold"], 42);
        assert_eq!(snippet(mbean, "HeapMemoryUsage", None, &shown), None);
    }
}
