//! How long each function of a file is.

use syn::{Attribute, Block, ImplItemFn, ItemFn, Signature, TraitItemFn, spanned::Spanned, visit::Visit};

/// One function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Lines between the braces, without blank ones and comments.
    pub(crate) code: usize,
}

/// Every function of a file, wherever it is nested.
pub(crate) fn functions(text: &str, syntax: &syn::File) -> Vec<Function> {
    let mut measure = Measure { text, functions: Vec::new() };
    measure.visit_file(syntax);
    measure.functions
}

struct Measure<'a> {
    text: &'a str,
    functions: Vec<Function>,
}

impl Measure<'_> {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let (first, last) = (body.span().start().line, body.span().end().line);
        let code = self
            .text
            .lines()
            .take(last.saturating_sub(1))
            .skip(first)
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count();
        self.functions.push(Function { name: signature.ident.to_string(), line: signature.span().start().line, code });
    }
}

impl<'ast> Visit<'ast> for Measure<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }

    // Attributes hold no functions, and documentation is most of a file's attributes.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}
