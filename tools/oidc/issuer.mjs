// A real issuer of tokens for the tests (`make oidc`): oidc-provider, set up as somebody who runs Comanda would, and nothing
// of Comanda's in it. People log in on its own pages, with any password; what they may do stands below.
//
//   issuer.mjs keys FILE    puts new keys before those in FILE, as rotating them does: the new ones sign, the old ones check
//   issuer.mjs serve FILE   serves on 127.0.0.1:$PORT; $MACHINE_SECRET is the secret of the client `till`
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

const [command, file] = process.argv.slice(2);

// Our api, as the issuer knows it: by an address for each algorithm.
const APIS = { 'https://orders.example.com/rs256': 'RS256', 'https://orders.example.com/es256': 'ES256' };

// Where Keycloak puts roles; whoever is not named is a customer.
const PEOPLE = {
  kim: { realm_access: { roles: ['offline_access', 'kitchen'] }, locations: ['main'] },
  olga: { realm_access: { roles: ['kitchen'] }, locations: 'elsewhere' },
  rosa: { realm_access: { roles: ['boss'] } },
};

function makeKeys() {
  const known = existsSync(file) ? JSON.parse(readFileSync(file)).keys : [];
  const make = (alg, type, options) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    alg, use: 'sig', kid: `${alg}-${randomBytes(6).toString('hex')}`,
  });
  const keys = [make('RS256', 'rsa', { modulusLength: 2048 }), make('ES256', 'ec', { namedCurve: 'P-256' }), ...known];
  writeFileSync(`${file}.new`, JSON.stringify({ keys: keys.slice(0, 4) }), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

async function serve() {
  const { PORT, MACHINE_SECRET, OIDC_PROVIDER } = process.env;
  const { default: Provider } = await import(`${OIDC_PROVIDER}/node_modules/oidc-provider/lib/index.js`);
  const issuer = `http://127.0.0.1:${PORT}`;
  const seconds = (number) => () => number;
  const provider = new Provider(issuer, {
    jwks: JSON.parse(readFileSync(file)),
    clients: [
      {
        client_id: 'shop', application_type: 'native', token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/back'], grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
      {
        client_id: 'till', client_secret: MACHINE_SECRET, redirect_uris: [], response_types: [],
        grant_types: ['client_credentials'],
      },
    ],
    scopes: ['openid', 'offline_access', 'order', 'kitchen'],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (_, token) => PEOPLE[token.accountId],
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, api) => ({
          scope: 'order kitchen', audience: api, accessTokenTTL: 600, accessTokenFormat: 'jwt',
          jwt: { sign: { alg: APIS[api] } },
        }),
      },
    },
    ttl: { Interaction: seconds(600), Session: seconds(600), Grant: seconds(600), IdToken: seconds(600), RefreshToken: seconds(600) },
  });
  // How often somebody asked for the keys.
  let asked = 0;
  provider.use(async (ctx, next) => {
    if (ctx.path === '/asked') {
      ctx.body = { asked };
      return;
    }
    if (ctx.path === '/jwks') asked += 1;
    await next();
  });
  provider.listen(Number(PORT), '127.0.0.1');
}

if (command === 'keys') makeKeys();
else if (command === 'serve') await serve();
else throw new Error(`what is ${command}?`);
