// The older hub's dashboard left a service worker in browsers. This one takes its place and goes away.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.registration.unregister()));
