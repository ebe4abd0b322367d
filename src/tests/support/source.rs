//! Reads Headroom's own source the way the house rules need it: what a file refers to, how long its functions are, what is test code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A word or a single punctuation mark (`::` is one mark), outside comments and literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path from the crate's root or from another crate: `crate::models::Node` has the root `models`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub line: usize,
    pub root: String,
}

/// A function with a body, from `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// One file under `src`.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to `src`, with forward slashes: `triggers/decide.rs`.
    pub path: String,
    pub lines: usize,
    tokens: Vec<Token>,
    /// Ranges of tokens under `#[cfg(test)]`.
    test_ranges: Vec<(usize, usize)>,
    /// The whole file is `#[cfg(test)]`, by the `mod` line that names it.
    pub test_only: bool,
}

/// The root of the clone.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends so, sorted.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().is_some_and(|name| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every Rust file under `src` but the integration tests.
pub fn product_files() -> Vec<SourceFile> {
    let src = root().join("src");
    let mut all: Vec<SourceFile> = files(&src, ".rs")
        .iter()
        .filter(|path| !path.starts_with(src.join("tests")))
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
            SourceFile::parse(name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    let test_only: BTreeSet<String> = all.iter().flat_map(SourceFile::test_modules).collect();
    for file in &mut all {
        file.test_only = test_only.contains(&file.path);
    }
    all
}

impl SourceFile {
    /// Reads a file's text; `path` is relative to `src`.
    pub fn parse(path: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let test_ranges = test_ranges(&tokens);
        Self {
            path: path.into(),
            lines: text.lines().count(),
            tokens,
            test_ranges,
            test_only: false,
        }
    }

    /// The top-level module that the file belongs to.
    pub fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Lines that are not test code.
    pub fn code_lines(&self) -> usize {
        if self.test_only {
            return 0;
        }
        let tested: usize = self
            .test_ranges
            .iter()
            .map(|&(from, to)| self.tokens[to].line - self.tokens[from].line + 1)
            .sum();
        self.lines - tested
    }

    fn in_test(&self, index: usize) -> bool {
        self.test_only
            || self
                .test_ranges
                .iter()
                .any(|&(from, to)| (from..=to).contains(&index))
    }

    fn text(&self, index: usize) -> &str {
        self.tokens
            .get(index)
            .map_or("", |token| token.text.as_str())
    }

    /// What the file takes from the crate's root, by `crate::` or by a chain of `super::` that reaches the root; grouped imports too.
    pub fn references(&self) -> Vec<Reference> {
        let file_depth = self.depth();
        let mut inline: Vec<usize> = Vec::new();
        let (mut braces, mut found) = (0, Vec::new());
        for (index, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" => {
                    braces += 1;
                    if index >= 2 && self.text(index - 2) == "mod" {
                        inline.push(braces);
                    }
                }
                "}" => {
                    inline.retain(|&depth| depth != braces);
                    braces -= 1;
                }
                "crate" if self.text(index + 1) == "::" => self.roots(index + 2, &mut found),
                "super" if self.text(index.wrapping_sub(1)) != "::" => {
                    let mut next = index;
                    while self.text(next) == "super" && self.text(next + 1) == "::" {
                        next += 2;
                    }
                    if (next - index) / 2 >= file_depth + inline.len() {
                        self.roots(next, &mut found);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// What the product part of the file takes from one of `crates`.
    pub fn uses_of_crates(&self, crates: &[&str]) -> Vec<Reference> {
        (0..self.tokens.len())
            .filter(|&index| crates.contains(&self.text(index)) && self.text(index + 1) == "::")
            .filter(|&index| !["::", "."].contains(&self.text(index.wrapping_sub(1))))
            .filter(|&index| !self.in_test(index))
            .map(|index| self.reference(index))
            .collect()
    }

    /// The first segment of every `use` in the product part of the file.
    pub fn imports(&self) -> Vec<Reference> {
        (1..self.tokens.len())
            .filter(|&index| self.text(index - 1) == "use" && !self.in_test(index))
            .map(|index| self.reference(index))
            .collect()
    }

    /// Functions of the product part.
    pub fn functions(&self) -> Vec<Function> {
        (0..self.tokens.len())
            .filter(|&index| self.text(index) == "fn" && !self.in_test(index))
            .filter_map(|index| self.function(index))
            .collect()
    }

    /// The words between the braces of the first `NAME! { … }`, its definition aside.
    pub fn macro_words(&self, name: &str) -> Option<Vec<String>> {
        let at = (0..self.tokens.len()).find(|&index| {
            self.text(index) == name && self.text(index + 1) == "!" && self.text(index + 2) == "{"
        })?;
        let end = matching_brace(&self.tokens, at + 2)?;
        let inside = &self.tokens[at + 3..end];
        Some(inside.iter().map(|token| token.text.clone()).collect())
    }

    fn reference(&self, index: usize) -> Reference {
        Reference {
            line: self.tokens[index].line,
            root: self.text(index).to_owned(),
        }
    }

    /// How many modules lie between the file and the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    /// The first segment at `index`, or of every branch of the group there.
    fn roots(&self, index: usize, found: &mut Vec<Reference>) {
        if self.text(index) != "{" {
            found.push(self.reference(index));
            return;
        }
        let mut depth = 0;
        for at in index..self.tokens.len() {
            match self.text(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ if depth == 1 && ["{", ","].contains(&self.text(at - 1)) => {
                    found.push(self.reference(at));
                }
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn function(&self, index: usize) -> Option<Function> {
        let open = (index..self.tokens.len()).find(|&at| ["{", ";"].contains(&self.text(at)))?;
        let end = matching_brace(&self.tokens, open)?;
        Some(Function {
            name: self.text(index + 1).to_owned(),
            line: self.tokens[index].line,
            lines: self.tokens[end].line - self.tokens[index].line + 1,
        })
    }

    /// The files of this one's `#[cfg(test)] mod name;` lines.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/"),
            None => String::new(),
        };
        self.test_ranges
            .iter()
            .filter(|&&(_, to)| self.text(to) == ";" && self.text(to - 2) == "mod")
            .map(|&(_, to)| format!("{folder}{}.rs", self.text(to - 1)))
            .collect()
    }
}

/// From each `#[cfg(test)]` to the end of the item it stands on.
fn test_ranges(tokens: &[Token]) -> Vec<(usize, usize)> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut ranges = Vec::new();
    let mut index = 0;
    while index + ATTRIBUTE.len() < tokens.len() {
        let here = &tokens[index..index + ATTRIBUTE.len()];
        if !here.iter().map(|token| &token.text).eq(ATTRIBUTE) {
            index += 1;
            continue;
        }
        let body = (index + ATTRIBUTE.len()..tokens.len())
            .find(|&at| ["{", ";"].contains(&tokens[at].text.as_str()));
        let end = body.map(|at| matching_brace(tokens, at).unwrap_or(at));
        let end = end.unwrap_or(tokens.len() - 1);
        ranges.push((index, end));
        index = end + 1;
    }
    ranges
}

fn matching_brace(tokens: &[Token], open: usize) -> Option<usize> {
    if tokens.get(open)?.text != "{" {
        return None;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// Splits source text; comments and literals vanish.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut index, mut line, mut found) = (0, 1, Vec::new());
    while index < chars.len() {
        let begin = index;
        let here = at(index);
        if here == '/' && at(index + 1) == '/' {
            index = end_of_line(&chars, index);
        } else if here == '/' && at(index + 1) == '*' {
            index = end_of_comment(&chars, index);
        } else if let Some(end) = end_of_literal(&chars, index) {
            index = end;
        } else if here.is_alphanumeric() || here == '_' {
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            found.push(token(&chars[begin..index], line));
        } else {
            index += if here == ':' && at(index + 1) == ':' {
                2
            } else {
                1
            };
            if !here.is_whitespace() {
                found.push(token(&chars[begin..index], line));
            }
        }
        line += chars[begin..index.min(chars.len())]
            .iter()
            .filter(|&&each| each == '\n')
            .count();
    }
    found
}

fn token(chars: &[char], line: usize) -> Token {
    Token {
        text: chars.iter().collect(),
        line,
    }
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    (from..chars.len())
        .find(|&index| chars[index] == '\n')
        .unwrap_or(chars.len())
}

fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut index) = (0, from);
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => (depth, index) = (depth + 1, index + 2),
            ('*', '/') => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

/// Where the string or character that begins at `from` ends; nothing when none begins there (a lifetime, say).
fn end_of_literal(chars: &[char], from: usize) -> Option<usize> {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    if at(from) == '\'' {
        let escaped = at(from + 1) == '\\';
        let close = (from + 2..chars.len().min(from + 14))
            .find(|&i| chars[i] == '\'' && (i > from + 2 || !escaped));
        return close.filter(|&i| escaped || i == from + 2).map(|i| i + 1);
    }
    let mut index = from;
    while index < from + 2 && ['b', 'r', 'c'].contains(&at(index)) {
        index += 1;
    }
    let raw = chars[from..index].contains(&'r');
    let hashes = (index..).take_while(|&i| raw && at(i) == '#').count();
    index += hashes;
    if at(index) != '"' {
        return None;
    }
    index += 1;
    loop {
        match at(index) {
            '\0' => return Some(chars.len()),
            '\\' if !raw => index += 2,
            '"' if (0..hashes).all(|i| at(index + 1 + i) == '#') => {
                return Some(index + 1 + hashes);
            }
            _ => index += 1,
        }
    }
}

mod tests {
    use super::*;

    fn roots(path: &str, text: &str) -> Vec<String> {
        let found = SourceFile::parse(path, text).references();
        found.into_iter().map(|each| each.root).collect()
    }

    #[test]
    fn grouped_nested_and_inline_paths_are_all_seen() {
        let text = "use crate::{db::{Db, Pool}, models::{self}};\nfn f() { crate::vault::open() }\npub(crate) fn g() {}";
        assert_eq!(roots("web/a.rs", text), ["db", "models", "vault"]);
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "// crate::a\n/* crate::b /* crate::c */ */ const X: &str = \"crate::d\"; const Y: &str = r#\"\"crate::e\"#; const Z: char = '\"'; fn f<'a>(x: &'a str) { crate::f(x) }";
        assert_eq!(roots("web/a.rs", text), ["f"]);
    }

    #[test]
    fn a_chain_of_super_that_reaches_the_root_counts() {
        assert_eq!(
            roots("web/mod.rs", "use super::db::Db;"),
            ["db"],
            "one step out of web is the root"
        );
        assert_eq!(
            roots("web/a.rs", "use super::db::Db;"),
            Vec::<String>::new(),
            "one step out of web::a is web"
        );
        assert_eq!(
            roots(
                "web/a.rs",
                "mod tests { use super::super::x; use super::super::super::db; }"
            ),
            ["db"]
        );
    }

    #[test]
    fn test_code_is_told_apart_by_its_attribute() {
        let text = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let file = SourceFile::parse("web/a.rs", text);
        let names: Vec<_> = file.functions().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(file.code_lines(), 3);
    }

    #[test]
    fn a_function_is_as_long_as_from_its_name_to_its_brace() {
        let file = SourceFile::parse("a.rs", "\nfn long(\n    a: u8,\n) {\n    a\n}\n");
        assert_eq!(
            file.functions(),
            [Function {
                name: "long".into(),
                line: 2,
                lines: 5
            }]
        );
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_test_code() {
        let file = SourceFile::parse("samples/mod.rs", "#[cfg(test)]\nmod contract;\n");
        assert_eq!(file.test_modules(), ["samples/contract.rs"]);
    }
}
