// Walks the pages in a real Chromium: axe on each in light and dark, pictures wide and phone, and what needs scripting.
//   node walk.mjs '{"base", "user", "password", "pages": {name: path}, "out", "tools"}'
import { join } from "node:path";
import { audit, context, end, job, login, say } from "./browser.mjs";

const narrow = async (page, where) => {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (over > 0) say(`${where}: is ${over} px wider than the window`);
};

const looks = [
  ["wide-light", { viewport: { width: 1360, height: 900 }, colorScheme: "light" }],
  ["wide-dark", { viewport: { width: 1360, height: 900 }, colorScheme: "dark" }],
  ["phone-light", { viewport: { width: 390, height: 844 }, colorScheme: "light" }],
  ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }],
];

const state = await (async () => {
  const first = await context({ colorScheme: "light", viewport: { width: 1360, height: 900 } });
  const page = await first.newPage();
  await page.goto("/login");
  await audit(page, "login");
  await page.screenshot({ path: join(job.out, "login-wide-light.png") });
  await login(page);
  const kept = await first.storageState();
  await first.close();
  return kept;
})();

for (const [look, options] of looks) {
  const made = await context({ ...options, storageState: state });
  const page = await made.newPage();
  for (const [name, path] of Object.entries(job.pages)) {
    await page.goto(path);
    if (name === "counter") await page.waitForSelector(".u-over");
    if (look.startsWith("wide") || name === "dashboard" || name === "run-stuck") await audit(page, `${name} ${look}`);
    await narrow(page, `${name} ${look}`);
    await page.screenshot({ path: join(job.out, `${name}-${look}.png`), fullPage: true });
  }
  await made.close();
}

await scripting();
await plain();
await end();

// With scripting, under the pages' own policy: nothing is refused by it, keys go places, a drag zooms, the theme changes at once.
async function scripting() {
  const made = await context({ bypassCSP: false, storageState: state, viewport: { width: 1360, height: 900 }, colorScheme: "light" });
  const page = await made.newPage();
  page.on("console", (message) => { if (message.type() === "error") say(`console: ${message.text()} at ${page.url()}`); });
  page.on("pageerror", (error) => say(`script: ${error.message} at ${page.url()}`));
  await page.goto("/");
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.waitForURL("**/clusters");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/clusters/*");
  await page.keyboard.press("/");
  if (await page.evaluate(() => document.activeElement.id) !== "q") say("/ does not lead to the search");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("?");
  if (!(await page.locator("#help").evaluate((help) => help.open))) say("? opens no help");
  await page.screenshot({ path: join(job.out, "help-wide-light.png") });
  await page.keyboard.press("Escape");
  await page.click("form.theme button[value=dark]");
  await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
  await page.reload();
  if (await page.evaluate(() => document.documentElement.dataset.theme) !== "dark") say("the theme is forgotten");
  await page.click("form.theme button[value=auto]");
  await zoom(page);
  await made.close();
}

async function zoom(page) {
  await page.goto(job.pages.counter);
  await page.waitForSelector(".u-over");
  const box = await page.locator(".u-over").boundingBox();
  const asked = page.waitForResponse((answer) => answer.url().includes("/graph") && answer.url().includes("from="));
  await page.mouse.move(box.x + box.width * 0.4, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 80, { steps: 5 });
  await page.mouse.up();
  const zoomed = await (await asked).json();
  const whole = 3600000;
  if (Math.abs((zoomed.to - zoomed.from) / whole - 0.2) > 0.05) say(`a drag over a fifth shows ${(zoomed.to - zoomed.from) / whole} of the hour`);
  await page.waitForSelector("#graph-reset:not([hidden])");
  await page.screenshot({ path: join(job.out, "counter-zoomed.png") });
  const back = page.waitForResponse((answer) => answer.url().includes("/graph") && !answer.url().includes("from="));
  await page.click("#graph-reset");
  await back;
}

// Without scripting: a hold is begun and lifted, an action is run on a cluster after its second page, the graph is a picture.
async function plain() {
  const made = await context({ storageState: state, javaScriptEnabled: false, viewport: { width: 1360, height: 900 }, colorScheme: "light" });
  const page = await made.newPage();
  const flash = async (wanted) => {
    const text = await page.locator(".flash:not([hidden])").first().textContent();
    if (!text.includes(wanted)) say(`without scripting: "${wanted}" is not in "${text}"`);
  };
  await page.goto(job.pages.counter);
  if (await page.locator("svg.graph .line").count() === 0) say("without scripting the graph has no lines");
  await page.goto("/holds");
  await page.selectOption("#scope", "cluster");
  await page.fill("#name", "db");
  await page.fill("#reason", "moving racks");
  await page.click("#new button.primary");
  await flash("hold on cluster db begins");
  await page.goto("/clusters/db");
  await page.screenshot({ path: join(job.out, "held-wide-light.png"), fullPage: true });
  await page.click("#holds-here button");
  await flash("hold on cluster db is lifted");
  await page.goto("/actions/restart");
  await page.selectOption("#target", "cluster:db");
  await page.fill("#reason", "a test");
  await page.click("main button.primary");
  await page.waitForURL("**/actions/restart/run?**");
  await page.screenshot({ path: join(job.out, "launch-wide-light.png"), fullPage: true });
  await page.click("main button.danger");
  await page.waitForURL("**/runs/*");
  await flash("was started");
  await page.click("#cancel button").catch(() => say("the run has no button to cancel it"));
  await made.close();
}
