/* SPDX-License-Identifier: Apache-2.0 */
#include "http/stream_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

struct stream_tls {
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	/* What the certificate is to be of and for: GnuTLS copies neither. */
	char *name;
	gnutls_typed_vdata_st wanted[2];
	bool begun;
};

static gnutls_datum_t text(const char *pem)
{
	return (gnutls_datum_t){.data = (unsigned char *)pem, .size = (unsigned int)strlen(pem)};
}

static int wrong(struct error *error, int code, const char *what, int err)
{
	return error__set(error, code, "%s: %s", what, gnutls_strerror(err));
}

static int trust(struct stream_tls *tls, const struct stream_tls_spec *spec, struct error *error)
{
	int count;

	if (spec->authorities) {
		gnutls_datum_t pem = text(spec->authorities);

		count = gnutls_certificate_set_x509_trust_mem(tls->credentials, &pem,
							      GNUTLS_X509_FMT_PEM);
	} else {
		count = gnutls_certificate_set_x509_system_trust(tls->credentials);
	}
	if (count < 0)
		return wrong(error, -EINVAL, "the authorities cannot be read", count);
	return count ? 0
		     : error__set(error, -EINVAL, "there is no authority's certificate to trust");
}

static int show(struct stream_tls *tls, const struct stream_tls_spec *spec, struct error *error)
{
	gnutls_datum_t certificate, key;
	int err;

	if (!spec->certificate || !spec->key)
		return 0;
	certificate = text(spec->certificate);
	key = text(spec->key);
	err = gnutls_certificate_set_x509_key_mem(tls->credentials, &certificate, &key,
						  GNUTLS_X509_FMT_PEM);
	return err < 0 ? wrong(error, -EINVAL, "the certificate and its key cannot be used", err)
		       : 0;
}

/* An address is not told to the server as a name; it is looked for in the certificate either way. */
static int begin(struct stream_tls *tls, const struct stream_tls_spec *spec, struct error *error)
{
	unsigned char address[16];
	int err = gnutls_init(&tls->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (!err)
		err = gnutls_priority_set_direct(tls->session,
						 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
						 NULL);
	if (!err)
		err = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE,
					     tls->credentials);
	if (!err && inet_pton(AF_INET, spec->name, address) != 1 &&
	    inet_pton(AF_INET6, spec->name, address) != 1)
		err = gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, spec->name,
					     strlen(spec->name));
	if (err)
		return wrong(error, -EINVAL, "TLS cannot begin", err);
	tls->name = strdup(spec->name);
	if (!tls->name)
		return error__set(error, -ENOMEM, "out of memory");
	tls->wanted[0] = (gnutls_typed_vdata_st){.type = GNUTLS_DT_DNS_HOSTNAME,
						 .data = (unsigned char *)tls->name};
	tls->wanted[1] = (gnutls_typed_vdata_st){.type = GNUTLS_DT_KEY_PURPOSE_OID,
						 .data = (unsigned char *)GNUTLS_KP_TLS_WWW_SERVER};
	gnutls_session_set_verify_cert2(tls->session, tls->wanted, 2, 0);
	return 0;
}

int stream_tls__new(const struct stream_tls_spec *spec, struct stream_tls **out,
		    struct error *error)
{
	struct stream_tls *tls = calloc(1, sizeof(*tls));
	int err;

	if (!tls)
		return error__set(error, -ENOMEM, "out of memory");
	if (gnutls_certificate_allocate_credentials(&tls->credentials)) {
		free(tls);
		return error__set(error, -ENOMEM, "out of memory");
	}
	err = trust(tls, spec, error);
	if (!err)
		err = show(tls, spec, error);
	if (!err)
		err = begin(tls, spec, error);
	if (err)
		stream_tls__free(tls);
	else
		*out = tls;
	return err;
}

static int not_trusted(struct stream_tls *tls, struct error *error)
{
	gnutls_datum_t words = {0};
	unsigned int status = gnutls_session_get_verify_cert_status(tls->session);

	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &words, 0);
	error__set(error, -EKEYREJECTED, "its certificate is not trusted: %s",
		   words.data ? (const char *)words.data : "it is not said why");
	gnutls_free(words.data);
	return -EKEYREJECTED;
}

/* With TLS 1.3 a server says what it thinks of our certificate only after the handshake. */
static int broken(struct stream_tls *tls, int err, struct error *error)
{
	if (err == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return error__set(error, -ECONNABORTED, "it refuses TLS with us: %s",
				  gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	return wrong(error, -EPROTO, "TLS with it fails", err);
}

int stream_tls__handshake(struct stream_tls *tls, int fd, bool *writing, struct error *error)
{
	int err;

	if (!tls->begun)
		gnutls_transport_set_int(tls->session, fd);
	tls->begun = true;
	do {
		err = gnutls_handshake(tls->session);
	} while (err == GNUTLS_E_INTERRUPTED);
	*writing = gnutls_record_get_direction(tls->session);
	if (!err)
		return 0;
	if (!gnutls_error_is_fatal(err))
		return -EAGAIN;
	if (err == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return not_trusted(tls, error);
	return broken(tls, err, error);
}

static ssize_t result(struct stream_tls *tls, ssize_t n, struct error *error)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED || !gnutls_error_is_fatal((int)n))
		return -EAGAIN;
	/* A server that ends without saying so in TLS: what it said is complete or not by HTTP's own measure. */
	return n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : broken(tls, (int)n, error);
}

ssize_t stream_tls__send(struct stream_tls *tls, const void *bytes, size_t len, struct error *error)
{
	return result(tls, gnutls_record_send(tls->session, bytes, len), error);
}

ssize_t stream_tls__recv(struct stream_tls *tls, void *bytes, size_t len, struct error *error)
{
	return result(tls, gnutls_record_recv(tls->session, bytes, len), error);
}

void stream_tls__free(struct stream_tls *tls)
{
	if (!tls)
		return;
	if (tls->session)
		gnutls_deinit(tls->session);
	gnutls_certificate_free_credentials(tls->credentials);
	free(tls->name);
	free(tls);
}
