// A real Chromium that is logged in, and what every script looks for in it.
import { createRequire } from "node:module";
import { join } from "node:path";

export const job = JSON.parse(process.argv[2]);
const require = createRequire(join(job.tools, "node_modules", "x.js"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const faults = [];

export const say = (text) => faults.push(text);

export const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

export const context = async (options = {}) => {
  // The policy of the pages forbids what axe needs to be put in; whether pages obey it is watched on a page of its own.
  const made = await browser.newContext({ baseURL: job.base, bypassCSP: true, ...options });
  made.setDefaultTimeout(20000);
  return made;
};

export const login = async (page) => {
  await page.goto("/login");
  await page.fill("#name", job.user);
  await page.fill("#password", job.password);
  await page.click("button.primary");
  await page.waitForSelector("#main");
};

export const audit = async (page, where) => {
  await page.addScriptTag({ path: axe });
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  for (const violation of violations) {
    say(`${where}: ${violation.id}: ${violation.help}: ${violation.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).slice(0, 3).join(" | ")}`);
  }
};

// The last line that a script prints: what it found.
export const end = async () => {
  await browser.close();
  console.log(JSON.stringify({ faults }));
};
