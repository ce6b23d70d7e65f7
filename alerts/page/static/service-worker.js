"use strict";
// Only the app shell is cached: styles, scripts, icon, and the page shown without a connection.
// Pages and incident data always come from the server.
const CACHE = "shell-1";
const SHELL = ["/static/page.css", "/static/page.js", "/static/icon.svg", "/static/vendor/htmx.min.js",
  "/static/vendor/uPlot.iife.min.js", "/static/vendor/uPlot.min.css", "/offline"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = caches.keys().then((keys) => Promise.all(keys.filter((key) => key !== CACHE).map((key) => caches.delete(key))));
  event.waitUntil(old.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event, path = new URL(request.url).pathname;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).then((answer) => {
      event.waitUntil(caches.open(CACHE).then((cache) => cache.add("/offline")).catch(() => {})); // the phone number on the page may have changed
      return answer;
    }, () => caches.match("/offline")));
  } else if (SHELL.includes(path)) {
    const fresh = fetch(request).then((answer) => {
      const copy = answer.clone();
      if (answer.ok) event.waitUntil(caches.open(CACHE).then((cache) => cache.put(path, copy)));
      return answer;
    });
    event.respondWith(fresh.catch(() => caches.match(path)));
  }
});

const show = (title, options) => self.registration.showNotification(title, { icon: "/static/icon-192.png", badge: "/static/icon-192.png", ...options });

self.addEventListener("push", (event) => {
  const notice = event.data.json();
  event.waitUntil(show(notice.title, {
    body: notice.body,
    tag: notice.tag,
    renotify: notice.loud,
    requireInteraction: notice.loud,
    silent: !notice.loud,
    data: notice,
    actions: notice.token ? [{ action: "take", title: notice.take || "I'm responding" }] : [],
  }));
});

const respond = async (notice) => {
  try {
    const answer = await fetch("/answer", { method: "POST", body: new URLSearchParams({ token: notice.token, via: "push" }) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    await show(notice.title, {
      body: body.mine ? `✓ ${notice.taken}` : body.what, tag: notice.tag, data: { ...notice, token: "" },
    });
  } catch (error) {
    await show(notice.title, { body: error instanceof TypeError ? notice.body : error.message, tag: notice.tag, data: notice, requireInteraction: true });
    await self.clients.openWindow(notice.link);
  }
};

self.addEventListener("notificationclick", (event) => {
  const notice = event.notification.data;
  if (event.action === "take") {
    event.waitUntil(respond(notice));
  } else {
    event.notification.close();
    event.waitUntil(self.clients.openWindow(notice.link));
  }
});
