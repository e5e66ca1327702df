--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: sess; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sess (
    id text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    live_name text COLLATE pg_catalog."C",
    slot integer,
    scopes text NOT NULL COLLATE pg_catalog."C",
    hint text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    origin text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    retired_digest bytea,
    retired_until bigint,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    CONSTRAINT sess_check CHECK (((retired_digest IS NULL) = (retired_until IS NULL))),
    CONSTRAINT sess_check1 CHECK (((live_name IS NULL) = (revoked_at IS NOT NULL))),
    CONSTRAINT sess_check2 CHECK (((slot IS NULL) OR (revoked_at IS NULL))),
    CONSTRAINT sess_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT sess_retired_digest_check CHECK ((octet_length(retired_digest) = 32))
)
WITH (fillfactor='90');


--
-- Name: sess_created; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sess_created (
    day integer NOT NULL,
    sessions integer NOT NULL
);


--
-- Name: tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    live_name text COLLATE pg_catalog."C",
    slot integer,
    scopes text NOT NULL COLLATE pg_catalog."C",
    hint text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    origin text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    retired_digest bytea,
    retired_until bigint,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    CONSTRAINT tokens_check CHECK (((retired_digest IS NULL) = (retired_until IS NULL))),
    CONSTRAINT tokens_check1 CHECK (((live_name IS NULL) = (revoked_at IS NOT NULL))),
    CONSTRAINT tokens_check2 CHECK (((slot IS NULL) OR (revoked_at IS NULL))),
    CONSTRAINT tokens_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT tokens_retired_digest_check CHECK ((octet_length(retired_digest) = 32))
)
WITH (fillfactor='90');


--
-- Name: tokens_user; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tokens_user (
    id text NOT NULL COLLATE pg_catalog."C"
);


--
-- Data for Name: sess; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.sess VALUES
	('PI2J5ZZNCUNFTNFY6XPUIQPTNK', '42', 'plain', 'plain', 41, '', 'Do3z', 1, '', '\x747f0394b95fa3ffe5b5ad89ed6d1c8d442652c7012cdcd939e8b3de62bd8cf7', NULL, NULL, 1793520060123456, NULL, NULL, NULL),
	('7JYTY7BMVXEPG5SPAQWTUTDLZB', '42', 'PLAIN', 'PLAIN', 81, '', 'qcjs', 1, '', '\xc55ceb054a4cf2db7b59aa30ef59e6fe0b428894e236e49adbd5223e002f0c4c', NULL, NULL, 1793520120123456, NULL, NULL, NULL),
	('ZI6HKX3IOYUJSKYAAVXETMFFYT', '42', 'scopes 🧑‍💻 desk', 'scopes 🧑‍💻 desk', 49, 'https://example.com/a:b?c=d&e=''f'' read write', 'VQXb', 1, '', '\x3bbbe77b60ce98c36cba4c755aa283a4bea62906c368e24bc62bd44c6fc5f6c8', NULL, NULL, 1793520180123456, NULL, NULL, NULL),
	('Z7GFUEM42ITHR5WYOZEDUTWCZ4', '42', 'expires late o''brien''s', 'expires late o''brien''s', 46, '', '56ua', 1, '', '\x32774cbc28b8cfa3ecaed761b3bb5556b7fd46c7069d2a2a1544cf8618641b68', NULL, NULL, 1793520240123456, 4947120240123456, NULL, NULL),
	('XC3VRT2DR3EX7M2OLIUWPXHXRH', '42', 'expired "quoted" \ % _', 'expired "quoted" \ % _', 70, '', 'CWVV', 1, '', '\xe8371648fae56261f317c5f75eef3e34e6f6933d035f16aa3d7c19f69f941b38', NULL, NULL, 1793520300123456, 1793523900123456, NULL, NULL),
	('TZ6VTW2O67SBW36DDTLSZLDGLP', '42', 'without slot <b>&amp;</b>', 'without slot <b>&amp;</b>', NULL, '', '6DFh', 1, '', '\x0115788b2b3937e6cf62e5d7a20178a96fdf1a0fc27e3bbd73097ce0f8344c3c', NULL, NULL, 1793520360123456, NULL, NULL, NULL),
	('4B7TOXVFHXHQKCDP5UNHVHX6MH', '42', 'WITHOUT SLOT <B>&AMP;</B>', 'WITHOUT SLOT <B>&AMP;</B>', NULL, '', 'E190', 1, '', '\x989429efb6d4d520dbd1e0d7e302066d81bf7d280f7356a302393c85d42b8235', NULL, NULL, 1793520420123456, NULL, NULL, NULL),
	('66VIAVD3VB55RC577ZS2YHJBKE', '42', 'used  two  spaces', 'used  two  spaces', 78, '', 'uXpS', 1, '', '\xf29d596ef8257c383d389bcaffa6dc050ab7f626350eae51f76a0db87f10b9e0', NULL, NULL, 1793520480123456, NULL, 1793520540123456, NULL),
	('PPDY4JJEM5OKLXR26MWSMDPHTS', '42', 'revoked Ünïcode', NULL, NULL, '', 'MTKx', 1, '', '\x1c46265841e7834761523b0d48bdfbe646ffc7574c3d3057ebd9316fe78b3dc0', NULL, NULL, 1793520600123456, NULL, NULL, 1793520600123456),
	('43MCOCZBMMCAV2QYUT7DRYPZEY', '42', 'revoked Ünïcode', NULL, NULL, '', 'oIxQ', 1, '', '\xc67423a0cde1b1028920a766a7e759606b089ba17173be0b98b28f8420c10473', NULL, NULL, 1793520660123456, NULL, NULL, 1793520660123456),
	('VKH5I6YS2X2XDDKCFCIADOIONM', '42', 'in grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'in grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 79, '', 'VD7l', 2, '', '\x32967124091a317fb009e7da27c1b7efe0814b439dc108b98f1f59de58721fd1', '\x4e906a032d7275c0580ec4dc8e55847d7459cb4f2edb47ca9ef5607f695a4802', 4947120720123456, 1793520720123456, NULL, NULL, NULL),
	('YWUPJWCHELFAS7D34EEN4T7R2V', '42', 'in grace, used', 'in grace, used', 93, '', 'C1Vj', 3, '', '\xc870724815f8fdb51407622498c1bf0a17934b6e5bc3fee0976f49a2f89d17d5', '\xf8e117469b22f8ea6d310582404d257b60d34070106241a8d0d7f0d408bab87d', 4947120840123456, 1793520780123456, NULL, 1793520840123456, NULL),
	('PZV3HZFLNMQAMWPDEYQNEP2XGZ', '42', 'IN GRACE, USED', 'IN GRACE, USED', 7, '', 'mu3Y', 3, '', '\x0cff230edce8d9c70e90e0bda7fbcea75df9d933fb59d0ba23ea009c3d7317af', '\xa3de31360252d9094ff414e59d11e030ac45485a38858d53de515ff7bf089dbb', 4947120960123456, 1793520900123456, NULL, 1793520960123456, NULL),
	('54JKWXIBR4KIJUN4XZNYHOOQ7B', '42', 'in grace, revoked 🧑‍💻 desk', NULL, NULL, '', 'IguH', 2, '', '\x7a724f659de7b5440c6e30fe55fc955fb58fef98b830734383d7c36aada4b3ac', '\xf2890e0408ab625a9da5b24daea3ab3db3da4b6077ebf81f3dc9adfae2fe3d3d', 4947121020123456, 1793521020123456, NULL, NULL, 1793521020123456),
	('TEVXJE5JH3MU5DHWQHBUJ2ZBM4', '42', 'past grace o''brien''s', 'past grace o''brien''s', 17, '', 'vuBy', 2, '', '\x1214d2ca68d3b1d4d136fe6e1ef9c8236531f0e8a2d4f3300ded34e83f1de24a', '\x46ba9450c23c29424664aa64ecd75a2308f28830138df878a8c92078854659f2', 1793524680123456, 1793521080123456, 4947121080123456, NULL, NULL),
	('EV2CCNWAXIPXIOJOX5YHFSO5HY', '42', 'imported "quoted" \ % _', 'imported "quoted" \ % _', NULL, 'read', '75a9', 0, 'drf', '\x3e36d02cdd428600eab910f56f44b2fa82ad6ac452b109cabd4415d17b6d211b', NULL, NULL, 1793521140123456, NULL, NULL, NULL),
	('2YPCV4WUBO6EGWA2MI2XWJQUKR', '42', 'imported, expired <b>&amp;</b>', 'imported, expired <b>&amp;</b>', NULL, '', 'a88d', 0, 'drf', '\xbff1844fc564d8a7eccd955da0717bfec58b5e69ec24c6de7bc04eb8e4e7ac75', NULL, NULL, 1793521200123456, 1793524800123456, NULL, NULL),
	('WDPIPOF2PNOSAWL4GYQEGFV7LK', '42', 'IMPORTED, EXPIRED <B>&AMP;</B>', 'IMPORTED, EXPIRED <B>&AMP;</B>', NULL, '', '4809', 0, 'drf', '\xf94ec3a0f3088d3abf12aaef56a8200a305c24dcb3f26a6ec1913655e1c8b9d8', NULL, NULL, 1793521260123456, 1793524860123456, NULL, NULL),
	('N6VAQYN35PFRY6ORE2BVX7BEWD', '42', 'imported, revoked  two  spaces', NULL, NULL, '', '7ad5', 0, 'drf', '\xb11d07a2ec7fd8fb1c18e57ffa7def4f98352aa0e25f9bdaa8646edb8547db1e', NULL, NULL, 1793521320123456, NULL, 1793521380123456, 1793521380123456),
	('KLGUF35Y5XSC45STMNDZ7MQ64U', '42', 'in grace, imported Ünïcode', 'in grace, imported Ünïcode', NULL, '', 'PRBS', 1, 'drf', '\x54b95e2902c22e167148e7ac10d01f3ddde466b5a44a05822d2cced369c425d6', '\x6bc2ff16d2e82265feedf174d9f559b050a944897182477ce41eaf299e520e90', 4947121440123456, 1793521440123456, NULL, NULL, NULL);


--
-- Data for Name: sess_created; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.sess_created VALUES
	(20261124, 17),
	(20261125, 4);


--
-- Data for Name: tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tokens VALUES
	('PI2J5ZZNCUNFTNFY6XPUIQPTNK', '42', 'plain', 'plain', 81, '', 'Do3z', 1, '', '\x747f0394b95fa3ffe5b5ad89ed6d1c8d442652c7012cdcd939e8b3de62bd8cf7', NULL, NULL, 1793520060123456, NULL, NULL, NULL),
	('7JYTY7BMVXEPG5SPAQWTUTDLZB', '42', 'PLAIN', 'PLAIN', 26, '', 'qcjs', 1, '', '\xc55ceb054a4cf2db7b59aa30ef59e6fe0b428894e236e49adbd5223e002f0c4c', NULL, NULL, 1793520120123456, NULL, NULL, NULL),
	('ZI6HKX3IOYUJSKYAAVXETMFFYT', '42', 'scopes 🧑‍💻 desk', 'scopes 🧑‍💻 desk', 59, 'https://example.com/a:b?c=d&e=''f'' read write', 'VQXb', 1, '', '\x3bbbe77b60ce98c36cba4c755aa283a4bea62906c368e24bc62bd44c6fc5f6c8', NULL, NULL, 1793520180123456, NULL, NULL, NULL),
	('Z7GFUEM42ITHR5WYOZEDUTWCZ4', '42', 'expires late o''brien''s', 'expires late o''brien''s', 21, '', '56ua', 1, '', '\x32774cbc28b8cfa3ecaed761b3bb5556b7fd46c7069d2a2a1544cf8618641b68', NULL, NULL, 1793520240123456, 4947120240123456, NULL, NULL),
	('XC3VRT2DR3EX7M2OLIUWPXHXRH', '42', 'expired "quoted" \ % _', 'expired "quoted" \ % _', 95, '', 'CWVV', 1, '', '\xe8371648fae56261f317c5f75eef3e34e6f6933d035f16aa3d7c19f69f941b38', NULL, NULL, 1793520300123456, 1793523900123456, NULL, NULL),
	('TZ6VTW2O67SBW36DDTLSZLDGLP', '42', 'without slot <b>&amp;</b>', 'without slot <b>&amp;</b>', NULL, '', '6DFh', 1, '', '\x0115788b2b3937e6cf62e5d7a20178a96fdf1a0fc27e3bbd73097ce0f8344c3c', NULL, NULL, 1793520360123456, NULL, NULL, NULL),
	('4B7TOXVFHXHQKCDP5UNHVHX6MH', '42', 'WITHOUT SLOT <B>&AMP;</B>', 'WITHOUT SLOT <B>&AMP;</B>', NULL, '', 'E190', 1, '', '\x989429efb6d4d520dbd1e0d7e302066d81bf7d280f7356a302393c85d42b8235', NULL, NULL, 1793520420123456, NULL, NULL, NULL),
	('66VIAVD3VB55RC577ZS2YHJBKE', '42', 'used  two  spaces', 'used  two  spaces', 96, '', 'uXpS', 1, '', '\xf29d596ef8257c383d389bcaffa6dc050ab7f626350eae51f76a0db87f10b9e0', NULL, NULL, 1793520480123456, NULL, 1793520540123456, NULL),
	('PPDY4JJEM5OKLXR26MWSMDPHTS', '42', 'revoked Ünïcode', NULL, NULL, '', 'MTKx', 1, '', '\x1c46265841e7834761523b0d48bdfbe646ffc7574c3d3057ebd9316fe78b3dc0', NULL, NULL, 1793520600123456, NULL, NULL, 1793520600123456),
	('43MCOCZBMMCAV2QYUT7DRYPZEY', '42', 'revoked Ünïcode', NULL, NULL, '', 'oIxQ', 1, '', '\xc67423a0cde1b1028920a766a7e759606b089ba17173be0b98b28f8420c10473', NULL, NULL, 1793520660123456, NULL, NULL, 1793520660123456),
	('VKH5I6YS2X2XDDKCFCIADOIONM', '42', 'in grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'in grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 14, '', 'VD7l', 2, '', '\x32967124091a317fb009e7da27c1b7efe0814b439dc108b98f1f59de58721fd1', '\x4e906a032d7275c0580ec4dc8e55847d7459cb4f2edb47ca9ef5607f695a4802', 4947120720123456, 1793520720123456, NULL, NULL, NULL),
	('YWUPJWCHELFAS7D34EEN4T7R2V', '42', 'in grace, used', 'in grace, used', 43, '', 'C1Vj', 3, '', '\xc870724815f8fdb51407622498c1bf0a17934b6e5bc3fee0976f49a2f89d17d5', '\xf8e117469b22f8ea6d310582404d257b60d34070106241a8d0d7f0d408bab87d', 4947120840123456, 1793520780123456, NULL, 1793520840123456, NULL),
	('PZV3HZFLNMQAMWPDEYQNEP2XGZ', '42', 'IN GRACE, USED', 'IN GRACE, USED', 89, '', 'mu3Y', 3, '', '\x0cff230edce8d9c70e90e0bda7fbcea75df9d933fb59d0ba23ea009c3d7317af', '\xa3de31360252d9094ff414e59d11e030ac45485a38858d53de515ff7bf089dbb', 4947120960123456, 1793520900123456, NULL, 1793520960123456, NULL),
	('54JKWXIBR4KIJUN4XZNYHOOQ7B', '42', 'in grace, revoked 🧑‍💻 desk', NULL, NULL, '', 'IguH', 2, '', '\x7a724f659de7b5440c6e30fe55fc955fb58fef98b830734383d7c36aada4b3ac', '\xf2890e0408ab625a9da5b24daea3ab3db3da4b6077ebf81f3dc9adfae2fe3d3d', 4947121020123456, 1793521020123456, NULL, NULL, 1793521020123456),
	('TEVXJE5JH3MU5DHWQHBUJ2ZBM4', '42', 'past grace o''brien''s', 'past grace o''brien''s', 54, '', 'vuBy', 2, '', '\x1214d2ca68d3b1d4d136fe6e1ef9c8236531f0e8a2d4f3300ded34e83f1de24a', '\x46ba9450c23c29424664aa64ecd75a2308f28830138df878a8c92078854659f2', 1793524680123456, 1793521080123456, 4947121080123456, NULL, NULL),
	('EV2CCNWAXIPXIOJOX5YHFSO5HY', '42', 'imported "quoted" \ % _', 'imported "quoted" \ % _', NULL, 'read', '75a9', 0, 'drf', '\x3e36d02cdd428600eab910f56f44b2fa82ad6ac452b109cabd4415d17b6d211b', NULL, NULL, 1793521140123456, NULL, NULL, NULL),
	('2YPCV4WUBO6EGWA2MI2XWJQUKR', '42', 'imported, expired <b>&amp;</b>', 'imported, expired <b>&amp;</b>', NULL, '', 'a88d', 0, 'drf', '\xbff1844fc564d8a7eccd955da0717bfec58b5e69ec24c6de7bc04eb8e4e7ac75', NULL, NULL, 1793521200123456, 1793524800123456, NULL, NULL),
	('WDPIPOF2PNOSAWL4GYQEGFV7LK', '42', 'IMPORTED, EXPIRED <B>&AMP;</B>', 'IMPORTED, EXPIRED <B>&AMP;</B>', NULL, '', '4809', 0, 'drf', '\xf94ec3a0f3088d3abf12aaef56a8200a305c24dcb3f26a6ec1913655e1c8b9d8', NULL, NULL, 1793521260123456, 1793524860123456, NULL, NULL),
	('N6VAQYN35PFRY6ORE2BVX7BEWD', '42', 'imported, revoked  two  spaces', NULL, NULL, '', '7ad5', 0, 'drf', '\xb11d07a2ec7fd8fb1c18e57ffa7def4f98352aa0e25f9bdaa8646edb8547db1e', NULL, NULL, 1793521320123456, NULL, 1793521380123456, 1793521380123456),
	('KLGUF35Y5XSC45STMNDZ7MQ64U', '42', 'in grace, imported Ünïcode', 'in grace, imported Ünïcode', NULL, '', 'PRBS', 1, 'drf', '\x54b95e2902c22e167148e7ac10d01f3ddde466b5a44a05822d2cced369c425d6', '\x6bc2ff16d2e82265feedf174d9f559b050a944897182477ce41eaf299e520e90', 4947121440123456, 1793521440123456, NULL, NULL, NULL);


--
-- Data for Name: tokens_user; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tokens_user VALUES
	('42'),
	('load-0'),
	('load-1'),
	('load-2'),
	('load-3'),
	('load-4'),
	('load-5'),
	('load-6'),
	('load-7');


--
-- Name: sess_created sess_created_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess_created
    ADD CONSTRAINT sess_created_pkey PRIMARY KEY (day);


--
-- Name: sess sess_digest_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess
    ADD CONSTRAINT sess_digest_key UNIQUE (digest);


--
-- Name: sess sess_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess
    ADD CONSTRAINT sess_pkey PRIMARY KEY (id);


--
-- Name: sess sess_retired_digest_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess
    ADD CONSTRAINT sess_retired_digest_key UNIQUE (retired_digest);


--
-- Name: sess sess_user_id_live_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess
    ADD CONSTRAINT sess_user_id_live_name_key UNIQUE (user_id, live_name);


--
-- Name: sess sess_user_id_slot_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess
    ADD CONSTRAINT sess_user_id_slot_key UNIQUE (user_id, slot);


--
-- Name: tokens tokens_digest_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_digest_key UNIQUE (digest);


--
-- Name: tokens tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);


--
-- Name: tokens tokens_retired_digest_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_retired_digest_key UNIQUE (retired_digest);


--
-- Name: tokens tokens_user_id_live_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_user_id_live_name_key UNIQUE (user_id, live_name);


--
-- Name: tokens tokens_user_id_slot_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_user_id_slot_key UNIQUE (user_id, slot);


--
-- Name: tokens_user tokens_user_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens_user
    ADD CONSTRAINT tokens_user_pkey PRIMARY KEY (id);


--
-- Name: sess_expires; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sess_expires ON public.sess USING btree (expires_at) WHERE (expires_at IS NOT NULL);


--
-- Name: sess_revoked; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sess_revoked ON public.sess USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);


--
-- Name: sess_user_created; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sess_user_created ON public.sess USING btree (user_id, created_at, id);


--
-- Name: tokens_created; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_created ON public.tokens USING btree (created_at, id);


--
-- Name: tokens_expires; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_expires ON public.tokens USING btree (expires_at) WHERE (expires_at IS NOT NULL);


--
-- Name: tokens_revoked; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_revoked ON public.tokens USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);


--
-- Name: tokens_user_created; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_user_created ON public.tokens USING btree (user_id, created_at, id);


--
-- Name: sess sess_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sess
    ADD CONSTRAINT sess_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.tokens_user(id) ON DELETE CASCADE;


--
-- Name: tokens tokens_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.tokens_user(id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--


