// An identity provider for the trials: whoever says a name is that, and "ann" is of the group sre.
import https from "node:https";
import fs from "node:fs";

const { default: Provider } = await import(process.env.OIDC_PROVIDER);
const [folder, port, redirect] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: "novacula", client_secret: "a secret & more", redirect_uris: [redirect] }],
  scopes: ["openid", "email", "groups"],
  claims: { openid: ["sub"], email: ["email"], groups: ["groups"] },
  // Groups belong into the ID token: nothing else of the provider is read.
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: `${id}@acme.example`, groups: id === "ann" ? ["staff", "sre"] : ["guests"] }),
  }),
  pkce: { required: () => true },
  cookies: { keys: ["of a test"] },
});
const tls = { cert: fs.readFileSync(`${folder}/provider.pem`), key: fs.readFileSync(`${folder}/provider.key`) };
https.createServer(tls, provider.callback()).listen(Number(port), "127.0.0.1", () => {
  console.log("listening");
  // Whoever started it reads no further: another line would end it (EPIPE).
  console.log = console.info = console.warn = () => {};
});
