// Pages that are open while all acting is stopped, and while that is lifted, show and say it without being loaded again.
//   node stopped.mjs '{"base", "user", "password", "pages": [path], "tools"}'
import { audit, context, end, job, login, say } from "./browser.mjs";

// The hand that stops and lifts has no scripting: nothing is swapped under it.
const plain = await context({ javaScriptEnabled: false });
const hand = await plain.newPage();
await login(hand);
const made = await context({ storageState: await plain.storageState() });
const open = await Promise.all(job.pages.map(async (path) => {
  const page = await made.newPage();
  page.on("pageerror", (error) => say(`script: ${error.message} at ${path}`));
  await page.goto(path);
  await page.evaluate(() => { window.loadedOnce = true; });
  if (await page.locator("#stopped").isVisible()) say(`${path}: shows a stop that is none`);
  return { path, page };
}));

const everywhere = async (wanted, heard) => {
  await Promise.all(open.map(async ({ path, page }) => {
    try {
      await page.waitForFunction((text) => { const shown = document.getElementById("stopped").textContent; return text ? shown.startsWith(text) : !shown; }, wanted);
      await page.waitForFunction((text) => document.getElementById("announce").textContent.includes(text), heard);
    } catch {
      say(`${path}: never showed "${wanted}" and said "${heard}", but "${await page.locator("#stopped").textContent()}" and "${await page.locator("#announce").textContent()}"`);
    }
    if (!(await page.evaluate(() => window.loadedOnce))) say(`${path}: was loaded again`);
  }));
};

await hand.goto("/holds");
await hand.fill("#stop-reason", "wrong machines are going");
await hand.click("#stop button.danger");
const stop = `All acting is stopped by ${job.user}: wrong machines are going`;
await everywhere(stop, stop);
await audit(open[0].page, "stopped");
await hand.locator("#active tr", { hasText: "wrong machines are going" }).getByRole("button").click();
await everywhere("", "Acting is not stopped");
await end();
