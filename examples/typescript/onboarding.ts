// Onboarding: a welcome, a guide after a day, and a nudge two days later for those who have not begun.

import { database, functions, inngest, paced } from "./base.ts";
import { sendMail } from "./mail.ts";

type User = { user_id: string; name: string; email: string };

const onboarding = inngest.createFunction(
  {
    id: "onboarding",
    triggers: [{ event: "app/user.signed-up" }],
    // Whoever presses the button twice is welcomed once.
    idempotency: "event.data.user_id",
    // Whoever leaves gets no more e-mails from us.
    cancelOn: [{ event: "app/user.deleted", if: "event.data.user_id == async.data.user_id" }],
  },
  async ({ event, step }) => {
    const user = event.data as User;
    await step.run("welcome", () => welcome(user));
    await step.sleep("a day to look around", paced({ hours: 24 }));
    await step.run("guide", () => guide(user));

    if (await step.run("has a project?", () => hasProject(user.user_id))) return "began by themselves";
    const created = await step.waitForEvent("first project", {
      event: "app/project.created",
      if: "event.data.user_id == async.data.user_id",
      timeout: paced({ hours: 48 }),
    });
    if (created !== null) return `began with ${created.data.title}`;
    await step.run("nudge", () => nudge(user));
    return "nudged";
  },
);
functions.push(onboarding);

const welcome = ({ user_id, name, email }: User): string =>
  sendMail(`${user_id}-welcome`, email, `Welcome, ${name}`, "Good to have you here. Have a look around.");

const guide = ({ user_id, email }: User): string =>
  sendMail(`${user_id}-guide`, email, "Your first project", "Press 'New project', and give it a name.");

const nudge = ({ user_id, name, email }: User): string =>
  sendMail(`${user_id}-nudge`, email, "Can we help?", `${name}, your first project is one click away.`);

const hasProject = (userId: string): boolean =>
  database("app.db", (db) => {
    db.exec("CREATE TABLE IF NOT EXISTS projects (user_id TEXT, title TEXT)");
    return db.prepare("SELECT 1 FROM projects WHERE user_id = ?").get(userId) !== undefined;
  });
